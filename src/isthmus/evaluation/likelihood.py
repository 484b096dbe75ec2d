"""How likely given answers are: the sum of the log-probabilities of an answer's tokens."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from isthmus.axes import IGNORED_LABEL
from isthmus.data.conversation import encode
from isthmus.data.conversation import prompt as encode_prompt
from isthmus.data.processor import Processor
from isthmus.data.sample import Message, Sample, Text
from isthmus.evaluation.encoding import image_inputs, left_padded
from isthmus.evaluation.requests import Answer, Choose, Prompt, Rank
from isthmus.modeling.modeling_isthmus import IsthmusForConditionalGeneration

Judged = Choose | Rank
"""Requests whose answer is a likelihood of each candidate."""


@final
@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One answer after its prompt, as token ids."""

    prompt: Prompt
    input_ids: list[int]
    scored: list[bool]
    """Which tokens belong to the answer; those the model learns to write, its end included."""


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
    input_ids, attention_mask = left_padded([c.input_ids for c in candidates], pad)
    scored, _ = left_padded([[int(s) for s in c.scored] for c in candidates], 0)
    # everything ends in the last column, so the answers lie within the last few
    answer_width = int(scored.shape[1] - scored.any(dim=0).int().argmax())
    output = model(
        input_ids=input_ids.to(model.device),
        attention_mask=attention_mask.to(model.device),
        position_ids=model.positions(input_ids, attention_mask).to(model.device),
        logits_to_keep=answer_width + 1,
        use_cache=False,
        **image_inputs(model, processor, [c.prompt for c in candidates]),
    )
    log_probabilities = output.logits[:, :-1].float().log_softmax(dim=-1).cpu()
    targets = input_ids[:, -answer_width:, None]
    chosen = log_probabilities.gather(-1, targets).squeeze(-1)
    return (chosen * scored[:, -answer_width:]).sum(dim=1).tolist()


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
    ids = encoded.input_ids.tolist()
    asked = encode_prompt(prompt.messages, processor, name)
    shared = next(
        (place for place, (a, b) in enumerate(zip(ids, asked, strict=False)) if a != b),
        min(len(ids), len(asked)),
    )
    # earlier answers of the assistant are labels too, but only the last turn is in question
    scored = [
        place >= shared and label != IGNORED_LABEL
        for place, label in enumerate(encoded.labels.tolist())
    ]
    return Candidate(prompt=prompt, input_ids=ids, scored=scored)
