"""Free answers in batches: padded, the same whatever shares the batch."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, final

from jaxtyping import Int
from torch import Tensor

from isthmus.data.faults import Fault
from isthmus.data.processor import Processor
from isthmus.data.sample import Sample
from isthmus.data.vetting import Check
from isthmus.evaluation.encoding import image_inputs, padded
from isthmus.evaluation.requests import Answer, Generate, Locate, Prompt, split_last_answer
from isthmus.evaluation.settings import chunks
from isthmus.geometry.boxes import parse_boxes
from isthmus.modeling.modeling_isthmus import IsthmusForConditionalGeneration

Written = Generate | Locate
"""Requests whose answer is generated text."""


@final
@dataclass(frozen=True, kw_only=True)
class Asked:
    """A request made ready."""

    request: Written
    input_ids: list[int]
    """Its prompt."""
    limit: int
    """Tokens of the answer: those that are asked for, or that the language model has positions for
    where they are fewer."""


def batches(
    requests: Sequence[Written],
    model: IsthmusForConditionalGeneration,
    processor: Processor,
    batch_size: int,
) -> list[Sequence[Asked]]:
    """Returns the requests made ready, those of like lengths together, longest first.

    The longest first, so that a batch too large for the memory fails at once. All of a batch have
    one limit: with room for more tokens, beams may find another answer.

    Raises:
        Fault: a prompt leaves no room for an answer.
    """
    asked = [_asked(request, model, processor) for request in requests]
    asked.sort(key=lambda each: (each.limit, len(each.input_ids)), reverse=True)
    return [
        batch
        for _, alike in groupby(asked, key=lambda each: each.limit)
        for batch in chunks(list(alike), batch_size)
    ]


def askable(processor: Processor, max_positions: int | None, num_frames: int = 1) -> Check:
    """Returns what tries whether the last answer of a sample can be asked for.

    Args:
        processor: of the model that is asked.
        max_positions: that it reads.
        num_frames: of the clips that it reads.
    """

    def check(sample: Sample) -> None:
        prompt, _ = split_last_answer(sample)
        ids = prompt.as_clips(num_frames).encode(processor, sample.id)
        room_after(ids, max_positions, processor, sample.id)

    return check


def check_beams(model: IsthmusForConditionalGeneration, num_beams: int) -> None:
    """Checks that a model can write with so many beams.

    Raises:
        ValueError: `generate` cannot repeat its images, which it finds by their places in the text.
    """
    config = model.config
    if num_beams > 1 and config.num_placeholders != config.num_image_tokens:
        raise ValueError(
            f"num_beams is {num_beams}, but with the fusion {config.fusion.kind!r} an image has "
            f"{config.num_placeholders} place in the text for {config.num_image_tokens} visual "
            "tokens, which transformers cannot repeat for beams; leave it at 1"
        )


def generate(
    model: IsthmusForConditionalGeneration,
    processor: Processor,
    batch: Sequence[Asked],
    *,
    num_beams: int = 1,
) -> list[Answer]:
    """Answers one batch; an answer ends at the first end token, or at the limit.

    Args:
        model: in evaluation mode.
        processor: of the model.
        batch: requests of one limit.
        num_beams: beams of an answer; 1 takes the likeliest token each time.
    """
    written = write(
        model,
        processor,
        [(each.request.prompt, each.input_ids) for each in batch],
        max_new_tokens=batch[0].limit,
        do_sample=False,
        num_beams=num_beams,
    )
    return [_answer(each.request, *one) for each, one in zip(batch, written, strict=True)]


def write(
    model: IsthmusForConditionalGeneration,
    processor: Processor,
    prompts: Sequence[tuple[Prompt, list[int]]],
    **how: Any,
) -> list[tuple[str, bool]]:
    """Returns what a model writes after each prompt, and whether it ended it itself.

    Args:
        model: in evaluation mode.
        processor: of the model.
        prompts: with their token ids.
        **how: as of `GenerationConfig`.

    Raises:
        ValueError: nothing would end an answer.
    """
    pad, ends = processor.tokenizer.pad_token_id or 0, end_tokens(model, processor)
    input_ids, attention_mask = padded([ids for _, ids in prompts], pad, processor)
    generated = model.generate(
        input_ids=input_ids.to(model.device),
        attention_mask=attention_mask.to(model.device),
        **image_inputs(model, processor, [prompt for prompt, _ in prompts]),
        eos_token_id=sorted(ends),
        pad_token_id=pad,
        **how,
    )
    return [
        _until_end(ids, ends, processor)
        for ids in new_tokens(generated, input_ids, processor).tolist()
    ]


def new_tokens(
    generated: Tensor, input_ids: Int[Tensor, "batch seq"], processor: Processor
) -> Int[Tensor, "batch targets"]:
    """Returns what `generate` wrote, behind the prompt or behind a decoder's first token.

    Args:
        generated: what it returned.
        input_ids: what it was asked.
        processor: of the model.
    """
    return generated[:, 1 if processor.is_encoder_decoder else input_ids.shape[1] :]


def end_tokens(model: IsthmusForConditionalGeneration, processor: Processor) -> frozenset[int]:
    """Returns the tokens that end an answer: the model's, and that of the tokenizer.

    Raises:
        ValueError: neither names one, so no answer would ever end.
    """
    named = model.generation_config.eos_token_id
    ends = {*(named if isinstance(named, list) else [named]), processor.tokenizer.eos_token_id}
    ends.discard(None)
    if not ends:
        raise ValueError(
            "neither generation_config nor the tokenizer names an end token, so no answer would "
            "end; set eos_token_id in generation_config.json"
        )
    return frozenset(ends)


def room_after(
    prompt: Sequence[int], context: int | None, processor: Processor, name: str
) -> int | None:
    """Returns how many tokens a language model has positions for after a prompt; None: any number.

    Args:
        prompt: token ids.
        context: positions of the language model.
        processor: knows whether a decoder writes the answer, which has positions of its own.
        name: what an error calls the prompt.

    Raises:
        Fault: there is no room for the prompt, or for an answer.
    """
    if context is None:
        return None
    shared = 0 if processor.is_encoder_decoder else len(prompt)
    if len(prompt) > context or shared == context:
        raise Fault(
            "too_long",
            f"{name}: the prompt has {len(prompt)} tokens and the language model takes {context}"
            f"{', answer included' if shared else ''}; shorten the conversation or drop it",
        )
    return context - shared


def _asked(request: Written, model: IsthmusForConditionalGeneration, processor: Processor) -> Asked:
    ids = request.prompt.encode(processor, request.id)
    room = room_after(ids, model.config.max_positions, processor, request.id)
    limit = request.max_new_tokens if room is None else min(request.max_new_tokens, room)
    return Asked(request=request, input_ids=ids, limit=limit)


def _until_end(ids: Sequence[int], ends: frozenset[int], processor: Processor) -> tuple[str, bool]:
    """Returns the text of tokens up to the first that ends it, and whether there is one."""
    end = next((place for place, token in enumerate(ids) if token in ends), None)
    text = processor.tokenizer.decode(ids[:end], skip_special_tokens=True).strip()
    return text, end is not None


def _answer(request: Written, text: str, finished: bool) -> Answer:
    if isinstance(request, Generate):
        return Answer(id=request.id, text=text, finished=finished)
    parsed = parse_boxes(text, request.size, request.digits)
    return Answer(
        id=request.id, text=text, finished=finished, boxes=parsed.boxes, unread=parsed.unread
    )
