"""Conversations to token ids and labels.

The chat template says which characters the assistant writes (see `rendering`); the tokenizer says
which characters each token covers. A token that covers a character of the assistant is a label. No
token is searched for, so neither a template's spelling nor a tokenizer's merges can move a label.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Int
from torch import Tensor

from isthmus.axes import IGNORED_LABEL
from isthmus.data.faults import Fault
from isthmus.data.processor import Processor
from isthmus.data.rendering import TO_MARK, render, render_answers
from isthmus.data.sample import Message, Sample


@final
@dataclass(frozen=True, slots=True)
class EncodedConversation:
    """A conversation as the model reads it."""

    input_ids: Int[Tensor, " seq"]
    """Token ids; one placeholder per visual token."""
    labels: Int[Tensor, " seq"]
    """Token ids of the answers, `IGNORED_LABEL` elsewhere; not shifted."""


def encode(
    sample: Sample, processor: Processor, max_length: int | None = None
) -> EncodedConversation:
    """Returns the token ids of a conversation, and which of them the model learns to write.

    Args:
        sample: conversation with its images.
        processor: tokenizer, template and image token.
        max_length: tokens that the language model takes.

    Raises:
        ValueError: there is no chat template.
        Fault: the sample has no supervised token, is too long, its text spells the image token,
            or the template refuses it or does not tell its answers.
    """
    rendered, answers = render_answers(sample.messages, processor, sample.id)
    if not answers:
        raise Fault(
            "no_label",
            f"{sample.id}: no supervised token, since the chat template marks no answer; {TO_MARK}",
        )
    encoding = processor.tokenizer(rendered, add_special_tokens=False, return_offsets_mapping=True)
    labels = [
        token if any(end > first and start < last for first, last in answers) else IGNORED_LABEL
        for token, (start, end) in zip(
            encoding["input_ids"], encoding["offset_mapping"], strict=True
        )
    ]
    input_ids, repeats = _expand(encoding["input_ids"], len(sample.images), processor, sample.id)
    expanded_labels = torch.tensor(labels, dtype=torch.int32).repeat_interleave(repeats)
    if not (expanded_labels[1:] != IGNORED_LABEL).any():
        raise Fault(
            "no_label",
            f"{sample.id}: no supervised token; the chat template drops the answer {answers!r:.80}",
        )
    if max_length is not None and len(input_ids) > max_length:
        raise Fault(
            "too_long",
            f"{sample.id}: {len(input_ids)} tokens, but the language model takes {max_length}; "
            "shorten the sample or drop it",
        )
    return EncodedConversation(input_ids, expanded_labels)


def prompt(messages: Sequence[Message], processor: Processor, name: str = "prompt") -> list[int]:
    """Returns the token ids up to where the assistant begins its last turn.

    Args:
        messages: turns of a conversation; a last turn of the assistant is left out.
        processor: tokenizer, template and image token.
        name: what an error calls the conversation.
    """
    if messages and messages[-1].role == "assistant":
        messages = messages[:-1]
    rendered = render(messages, processor, name, add_generation_prompt=True)
    ids = processor.tokenizer(rendered, add_special_tokens=False)["input_ids"]
    num_images = sum(message.num_images for message in messages)
    return _expand(ids, num_images, processor, name)[0].tolist()


def _expand(
    ids: Sequence[int], num_images: int, processor: Processor, name: str
) -> tuple[Int[Tensor, " seq"], Int[Tensor, " text"]]:
    """Repeats each image placeholder for its visual tokens; returns the repeats per token too."""
    compact = torch.tensor(ids, dtype=torch.int32)
    is_image = compact == processor.image_token_id
    if (found := int(is_image.sum())) != num_images:
        raise Fault(
            "image_marks",
            f"{name}: {found} image tokens {processor.image_token!r} for {num_images} images; "
            f"the text may spell the token, or the chat template may drop an image",
        )
    repeats = torch.where(is_image, processor.num_image_tokens, 1)
    return compact.repeat_interleave(repeats), repeats
