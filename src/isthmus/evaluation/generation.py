"""Free answers in batches: greedy, padded, the same whatever shares the batch."""

from collections.abc import Sequence

from jaxtyping import Int
from torch import Tensor

from isthmus.data.faults import Fault
from isthmus.data.processor import Processor
from isthmus.data.sample import Sample
from isthmus.data.vetting import Check
from isthmus.evaluation.encoding import image_inputs, padded
from isthmus.evaluation.requests import Answer, Generate, Locate, split_last_answer
from isthmus.geometry.boxes import parse_boxes
from isthmus.modeling.modeling_isthmus import IsthmusForConditionalGeneration

Written = Generate | Locate
"""Requests whose answer is generated text."""


def batches(
    requests: Sequence[Written], processor: Processor, batch_size: int
) -> list[list[tuple[Written, list[int]]]]:
    """Returns the requests with their prompt ids, those of like lengths together, longest first.

    The longest first, so that a batch too large for the memory fails at once.
    """
    encoded = [(request, request.prompt.encode(processor, request.id)) for request in requests]
    encoded.sort(key=lambda pair: (pair[0].max_new_tokens, len(pair[1])), reverse=True)
    return [encoded[start : start + batch_size] for start in range(0, len(encoded), batch_size)]


def askable(processor: Processor, max_positions: int | None) -> Check:
    """Returns what tries whether the last answer of a sample can be asked for."""

    def check(sample: Sample) -> None:
        prompt, _ = split_last_answer(sample)
        room_after(prompt.encode(processor, sample.id), max_positions, processor, sample.id)

    return check


def generate(
    model: IsthmusForConditionalGeneration,
    processor: Processor,
    batch: Sequence[tuple[Written, list[int]]],
) -> list[Answer]:
    """Answers one batch; an answer ends at the first end token or at its own limit.

    It also ends where the language model's positions do, counted from the longest prompt; a decoder
    has its own.

    Raises:
        ValueError: a prompt leaves no room for an answer.
    """
    pad = processor.tokenizer.pad_token_id or 0
    input_ids, attention_mask = padded([ids for _, ids in batch], pad, processor)
    ends = end_tokens(model, processor)
    written = model.generate(
        input_ids=input_ids.to(model.device),
        attention_mask=attention_mask.to(model.device),
        **image_inputs(model, processor, [request.prompt for request, _ in batch]),
        do_sample=False,
        num_beams=1,
        max_new_tokens=_room(model, processor, batch),
        eos_token_id=sorted(ends),
        pad_token_id=pad,
    )
    return [
        _answer(request, ids, ends, processor)
        for (request, _), ids in zip(
            batch, new_tokens(written, input_ids, processor).tolist(), strict=True
        )
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


def _room(
    model: IsthmusForConditionalGeneration,
    processor: Processor,
    batch: Sequence[tuple[Written, list[int]]],
) -> int:
    """Returns how many tokens may be written: as many as are asked for, if there are positions."""
    asked = max(request.max_new_tokens for request, _ in batch)
    request, prompt = max(batch, key=lambda pair: len(pair[1]))
    room = room_after(prompt, model.config.max_positions, processor, request.id)
    return asked if room is None else min(asked, room)


def _answer(
    request: Written, ids: Sequence[int], ends: frozenset[int], processor: Processor
) -> Answer:
    allowed = ids[: request.max_new_tokens]
    end = next((place for place, token in enumerate(allowed) if token in ends), None)
    text = processor.tokenizer.decode(allowed[:end], skip_special_tokens=True).strip()
    finished = end is not None
    if isinstance(request, Generate):
        return Answer(id=request.id, text=text, finished=finished)
    parsed = parse_boxes(text, request.size, request.digits)
    return Answer(
        id=request.id, text=text, finished=finished, boxes=parsed.boxes, unread=parsed.unread
    )
