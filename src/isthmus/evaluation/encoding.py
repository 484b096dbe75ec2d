"""Prompts and pictures as a batch of tensors."""

from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Int
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from isthmus.data.processor import Processor
from isthmus.data.sample import instructions
from isthmus.data.views import read_views
from isthmus.evaluation.requests import Prompt
from isthmus.modeling.modeling_isthmus import IsthmusForConditionalGeneration


def padded(
    rows: Sequence[Sequence[int]], pad: int, processor: Processor
) -> tuple[Int[Tensor, "batch seq"], Int[Tensor, "batch seq"]]:
    """Returns token ids and their attention mask.

    Where words are written behind them all end in the last column; before a decoder all begin in
    the first.
    """
    side = "right" if processor.is_encoder_decoder else "left"
    tensors = [torch.tensor(row) for row in rows]
    ids = pad_sequence(tensors, batch_first=True, padding_value=pad, padding_side=side)
    ones = [torch.ones_like(row) for row in tensors]
    return ids, pad_sequence(ones, batch_first=True, padding_side=side)


def image_inputs(
    model: IsthmusForConditionalGeneration, processor: Processor, prompts: Sequence[Prompt]
) -> dict[str, Tensor]:
    """Returns the model's keyword arguments for the pictures of a batch of prompts.

    A picture that several prompts show (questions on one scene, choices of one question) is read
    and passed through the vision tower once.
    """
    images: list[Path] = [path for prompt in prompts for path in prompt.images]
    if not images:
        return {}
    shown = {path: read_views(path, processor) for path in dict.fromkeys(images)}
    seen = model.encode_images(torch.cat(list(shown.values())).to(model.device)).states
    states = dict(zip(shown, seen.split([len(views) for views in shown.values()]), strict=True))
    lines = [line for prompt in prompts for line in instructions(prompt.messages)]
    asked = processor.asked(
        [line for line, path in zip(lines, images, strict=True) for _ in shown[path]]
    )
    return {
        "patch_features": torch.cat([states[path] for path in images]),
        **{name: value.to(model.device) for name, value in asked.items()},
    }
