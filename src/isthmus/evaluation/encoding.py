"""Prompts and pictures as a batch of tensors."""

from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor

from isthmus.data.dataset import read_pixels
from isthmus.data.processor import Processor
from isthmus.evaluation.requests import Prompt
from isthmus.modeling.modeling_isthmus import IsthmusForConditionalGeneration


def left_padded(
    rows: Sequence[Sequence[int]], pad: int
) -> tuple[Int[Tensor, "batch seq"], Int[Tensor, "batch seq"]]:
    """Returns token ids that all end in the last column, and their attention mask."""
    width = max(map(len, rows))
    ids = torch.tensor([[pad] * (width - len(row)) + list(row) for row in rows])
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
    return ids, mask


def image_inputs(
    model: IsthmusForConditionalGeneration, processor: Processor, prompts: Sequence[Prompt]
) -> dict[str, Float[Tensor, "images patches d_vision"]]:
    """Returns the model's keyword arguments for the pictures of a batch of prompts.

    A picture that several prompts show (questions on one scene, choices of one question) is read
    and passed through the vision tower once.
    """
    images: list[Path] = [path for prompt in prompts for path in prompt.images]
    if not images:
        return {}
    position = {path: index for index, path in enumerate(dict.fromkeys(images))}
    pixels = torch.stack([read_pixels(path, processor) for path in position])
    seen = model.encode_images(pixels.to(model.device)).features
    order = torch.tensor([position[path] for path in images], device=seen.device)
    return {"patch_features": seen[order]}
