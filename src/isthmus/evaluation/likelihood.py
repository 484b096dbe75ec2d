"""How likely given answers are: the sum of the log-probabilities of an answer's tokens."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

from isthmus.axes import IGNORED_LABEL
from isthmus.data.conversation import encode
from isthmus.data.processor import Processor
from isthmus.data.sample import Message, Sample, Text
from isthmus.evaluation.encoding import image_inputs, padded
from isthmus.evaluation.requests import Answer, Choose, Prompt, Rank
from isthmus.modeling.modeling_isthmus import IsthmusForConditionalGeneration

Judged = Choose | Rank
"""Requests whose answer is a likelihood of each candidate."""


@final
@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One answer and its prompt, as token ids."""

    prompt: Prompt
    input_ids: list[int]
    """The answer after its prompt; the prompt alone before a decoder, which writes the answer."""
    labels: list[int]
    """The answer as the model learns to write it, its end included; `IGNORED_LABEL` elsewhere."""


def batches(
    requests: Sequence[Judged], processor: Processor, batch_size: int
) -> list[list[tuple[Judged, list[Candidate]]]]:
    """Returns the requests with their candidates, about `batch_size` candidates to a batch.

    Candidates of one request stay together, so that their pictures are encoded once.
    """
    encoded = [(request, _candidates(request, processor)) for request in requests]
    encoded.sort(key=lambda pair: max(len(c.input_ids) for c in pair[1]), reverse=True)
    groups: list[list[tuple[Judged, list[Candidate]]]] = []
    room = 0
    for request, candidates in encoded:
        if not groups or len(candidates) > room:
            groups.append([])
            room = batch_size
        groups[-1].append((request, candidates))
        room -= len(candidates)
    return groups


def judge(
    model: IsthmusForConditionalGeneration,
    processor: Processor,
    batch: Sequence[tuple[Judged, list[Candidate]]],
    batch_size: int,
) -> list[Answer]:
    """Answers one batch; a request of more candidates than `batch_size` is run in pieces."""
    candidates = [candidate for _, group in batch for candidate in group]
    values: list[float] = []
    for start in range(0, len(candidates), batch_size):
        values.extend(log_likelihoods(model, processor, candidates[start : start + batch_size]))
    answers, place = [], 0
    for request, group in batch:
        own = tuple(values[place : place + len(group)])
        place += len(group)
        best = max(range(len(own)), key=own.__getitem__)
        text = request.choices[best] if isinstance(request, Choose) else ""
        answers.append(Answer(id=request.id, text=text, log_likelihoods=own))
    return answers


def log_likelihoods(
    model: IsthmusForConditionalGeneration, processor: Processor, candidates: Sequence[Candidate]
) -> list[float]:
    """Returns the summed log-likelihood of each answer after its prompt.

    Units: nats. The sum is over all tokens of the answer and not divided by their number, so a
    longer choice is the less likely one, all else being equal.
    """
    pad = processor.tokenizer.pad_token_id or 0
    input_ids, attention_mask = padded([c.input_ids for c in candidates], pad, processor)
    labels, _ = padded([c.labels for c in candidates], IGNORED_LABEL, processor)
    if processor.is_encoder_decoder:
        before = model.prepare_decoder_input_ids_from_labels(labels)
        how: dict[str, Any] = {"decoder_input_ids": before.to(model.device)}
    else:
        # everything ends in the last column, so the answers lie within the last few
        width = int(labels.shape[1] - (labels != IGNORED_LABEL).any(dim=0).int().argmax())
        labels = labels[:, -width:]
        positions = model.positions(input_ids, attention_mask)
        how = {"position_ids": positions.to(model.device), "logits_to_keep": width + 1}
    logits = model(
        input_ids=input_ids.to(model.device),
        attention_mask=attention_mask.to(model.device),
        use_cache=False,
        **how,
        **image_inputs(model, processor, [c.prompt for c in candidates]),
    ).logits
    # in a text, the last position tells what nothing stands behind
    log_probabilities = logits[:, : labels.shape[1]].float().log_softmax(dim=-1).cpu()
    chosen = log_probabilities.gather(-1, labels.clamp(min=0)[..., None]).squeeze(-1)
    return chosen.masked_fill(labels == IGNORED_LABEL, 0).sum(dim=1).tolist()


def _candidates(request: Judged, processor: Processor) -> list[Candidate]:
    pairs = (
        [(request.prompt, choice) for choice in request.choices]
        if isinstance(request, Choose)
        else list(request.candidates)
    )
    if not pairs:
        raise ValueError(f"request {request.id!r} has no candidate; expected at least one")
    return [_candidate(request.id, prompt, answer, processor) for prompt, answer in pairs]


def _candidate(name: str, prompt: Prompt, answer: str, processor: Processor) -> Candidate:
    turn = Message("assistant", (Text(answer),))
    sample = Sample(id=name, messages=(*prompt.messages, turn), images=prompt.images)
    encoded = encode(sample, processor)
    ids, labels = encoded.input_ids.tolist(), encoded.labels.tolist()
    if processor.is_encoder_decoder:
        return Candidate(prompt=prompt, input_ids=ids, labels=labels)
    asked = prompt.encode(processor, name)
    shared = next(
        (place for place, (a, b) in enumerate(zip(ids, asked, strict=False)) if a != b),
        min(len(ids), len(asked)),
    )
    # earlier answers of the assistant are labels too, but only the last turn is in question
    asked_for = [IGNORED_LABEL] * shared + labels[shared:]
    return Candidate(prompt=prompt, input_ids=ids, labels=asked_for)
