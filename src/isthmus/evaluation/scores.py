"""From scored samples to numbers about the whole set."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

from isthmus.evaluation.intervals import Interval, bootstrap_mean
from isthmus.geometry.boxes import Box


@final
@dataclass(frozen=True, kw_only=True)
class SampleRow:
    """One sample after scoring: a line of samples.jsonl, and a picture of the report."""

    id: str
    task: str
    question: str
    target: str
    prediction: str
    scores: Mapping[str, float]
    """What the sample adds to each metric that it counts for; the first one is its `score`."""

    parsed: bool = True
    """Whether the answer had the form that was asked for."""

    finished: bool = True
    """Whether the model ended its answer itself, before the limit of new tokens."""

    images: tuple[Path, ...] = ()
    cluster: str = ""
    """Samples with equal keys share a picture and are drawn together by the bootstrap."""

    boxes: tuple[Box, ...] = ()
    """True boxes. Units: original pixels."""

    predicted_boxes: tuple[Box, ...] = ()
    """Boxes read from the prediction. Units: original pixels."""

    log_likelihoods: tuple[float, ...] = ()
    """Of the choices, where likelihood decided. Units: nats."""


@final
@dataclass(frozen=True, kw_only=True)
class Score:
    """One number about the whole set, with what is needed to read it rightly."""

    value: float
    interval: Interval
    """95 % bootstrap interval over pictures."""

    count: int
    """Samples behind the number."""

    variant: str
    """Which of the definitions in use was applied."""

    parse_failure_rate: float = 0.0
    """Share of these samples whose answer lacked the asked form; they stay in the denominator."""


@final
@dataclass(frozen=True, kw_only=True)
class Scores:
    """All numbers of one benchmark, and the samples they come from."""

    metrics: Mapping[str, Score]
    rows: tuple[SampleRow, ...]


def mean_scores(
    rows: Sequence[SampleRow], variants: Mapping[str, str], *, seed: int = 0
) -> dict[str, Score]:
    """Returns every metric that is a mean over the rows that carry it.

    Args:
        rows: The scored samples.
        variants: The definition behind each metric, in the order wanted; metrics that no row
            carries are left out.
        seed: Of the bootstrap.
    """
    scores: dict[str, Score] = {}
    for name, variant in variants.items():
        members = [row for row in rows if name in row.scores]
        if not members:
            continue
        values = [row.scores[name] for row in members]
        scores[name] = Score(
            value=sum(values) / len(values),
            interval=bootstrap_mean(
                values, clusters=[row.cluster or row.id for row in members], seed=seed
            ),
            count=len(members),
            variant=variant,
            parse_failure_rate=sum(not row.parsed for row in members) / len(members),
        )
    return scores
