"""Conversations to token ids and labels.

The chat template says which characters the assistant writes (see `rendering`); the tokenizer says
which characters each token covers. A token that covers a character of the assistant is a label. No
token is searched for, so neither a template's spelling nor a tokenizer's merges can move a label.

A model with an encoder reads what the template makes of all that was said before an answer, and its
decoder writes the answer, of which the template knows nothing. Each text stands between the
tokenizer's own marks, as the model was pretrained: T5's ends with `</s>`.
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
from isthmus.data.views import num_views


@final
@dataclass(frozen=True, slots=True)
class EncodedConversation:
    """A conversation as the model reads it."""

    input_ids: Int[Tensor, " seq"]
    """Token ids; one placeholder per visual token."""
    labels: Int[Tensor, " targets"]
    """Token ids of the answers in their places, `IGNORED_LABEL` elsewhere; or of the one answer
    that a decoder writes. Not shifted."""


def examples(samples: Sequence[Sample], processor: Processor) -> Sequence[Sample]:
    """Returns what a model learns from at once: conversations, or each answer with what led to it.

    Args:
        samples: conversations with their images.
        processor: knows whether the model writes with a decoder.
    """
    if not processor.is_encoder_decoder:
        return samples
    return [part for sample in samples for part in sample.by_answer()]


def encode(
    sample: Sample, processor: Processor, max_length: int | None = None
) -> EncodedConversation:
    """Returns the token ids of a conversation, and what of it the model learns to write.

    That is every answer; of a model with an encoder, the last one (see `examples`).

    Args:
        sample: conversation with its images.
        processor: tokenizer, template and image token.
        max_length: tokens that the language model takes.

    Raises:
        ValueError: there is no chat template.
        Fault: the sample has no supervised token, is too long, its text spells the image token,
            or the template refuses it or does not tell its answers.
    """
    encoded = (_read_and_written if processor.is_encoder_decoder else _in_text)(sample, processor)
    length = max(len(encoded.input_ids), len(encoded.labels))
    if max_length is not None and length > max_length:
        raise Fault(
            "too_long",
            f"{sample.id}: {length} tokens, but the language model takes {max_length}; "
            "shorten the sample or drop it",
        )
    return encoded


def _in_text(sample: Sample, processor: Processor) -> EncodedConversation:
    """Returns a conversation as one text, in which the answers are labels."""
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
    views = num_views(sample.images, processor)
    input_ids, repeats = _expand(encoding["input_ids"], views, processor, sample.id)
    expanded_labels = torch.tensor(labels, dtype=torch.int32).repeat_interleave(repeats)
    if not (expanded_labels[1:] != IGNORED_LABEL).any():
        raise Fault(
            "no_label",
            f"{sample.id}: no supervised token; the chat template drops the answer {answers!r:.80}",
        )
    return EncodedConversation(input_ids, expanded_labels)


def _read_and_written(sample: Sample, processor: Processor) -> EncodedConversation:
    """Returns what the encoder reads before the last answer, and that answer as labels."""
    *_, last = sample.by_answer()
    views = num_views(last.images, processor)
    input_ids = prompt(last.messages, processor, sample.id, views=views)
    tokenizer, answer = processor.tokenizer, last.messages[-1].text
    written = tokenizer(answer)["input_ids"]
    if written[-1:] != [tokenizer.eos_token_id]:
        written = [*written, tokenizer.eos_token_id]
    labels, _ = _expand(written, (), processor, sample.id)
    if not tokenizer.decode(written, skip_special_tokens=True).strip():
        raise Fault(
            "no_label",
            f"{sample.id}: no supervised token; the tokenizer knows nothing of the answer "
            f"{answer!r:.80}",
        )
    return EncodedConversation(torch.tensor(input_ids, dtype=torch.int32), labels)


def prompt(
    messages: Sequence[Message],
    processor: Processor,
    name: str = "prompt",
    *,
    views: Sequence[int] | None = None,
) -> list[int]:
    """Returns the token ids up to where the assistant begins its last turn; all an encoder reads.

    Args:
        messages: turns of a conversation; a last turn of the assistant is left out.
        processor: tokenizer, template and image token.
        name: what an error calls the conversation.
        views: as how many views each image is shown, see `num_views`; one each when None.
    """
    if messages and messages[-1].role == "assistant":
        messages = messages[:-1]
    rendered = render(messages, processor, name, add_generation_prompt=True)
    marked = processor.is_encoder_decoder
    ids = processor.tokenizer(rendered, add_special_tokens=marked)["input_ids"]
    counts = [1] * sum(message.num_images for message in messages) if views is None else views
    return _expand(ids, counts, processor, name)[0].tolist()


def _expand(
    ids: Sequence[int], views: Sequence[int], processor: Processor, name: str
) -> tuple[Int[Tensor, " seq"], Int[Tensor, " text"]]:
    """Repeats each image placeholder for its visual tokens; returns the repeats per token too."""
    compact = torch.tensor(ids, dtype=torch.int32)
    is_image = compact == processor.image_token_id
    if (found := int(is_image.sum())) != len(views):
        raise Fault(
            "image_marks",
            f"{name}: {found} image tokens {processor.image_token!r} for {len(views)} images; "
            f"the text may spell the token, or the chat template may drop an image",
        )
    repeats = torch.ones_like(compact, dtype=torch.long)
    repeats[is_image] = processor.num_image_tokens * torch.tensor(views, dtype=torch.long)
    return compact.repeat_interleave(repeats), repeats
