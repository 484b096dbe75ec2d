"""From results and logs to the plain values that a page shows."""

import json
import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

from isthmus.evaluation.intervals import Interval
from isthmus.evaluation.results import Result
from isthmus.evaluation.scores import SampleRow
from isthmus.report.charts import Chart, Curve, Point

_LABELS = {"vqa_accuracy": "VQA accuracy", "box_accuracy": "Boxes", "text_accuracy": "Text only"}


@final
@dataclass(frozen=True, kw_only=True)
class Bar:
    """A share with its interval, beside the same share of other models."""

    label: str
    value: float
    interval: Interval | None = None
    count: int = 0
    """Samples behind the number."""

    marks: dict[str, float] = field(default_factory=dict)
    """The share of other models, by their name (`blind`, `majority`)."""

    parse_failure_rate: float = 0.0
    """Share of answers that lacked the asked form."""

    note: str = ""
    """A few words below a headline number."""


@final
@dataclass(frozen=True, kw_only=True)
class Gallery:
    """Samples shown with their pictures."""

    title: str
    note: str
    """How these samples were chosen, so that nobody takes a pick for a proof."""

    rows: tuple[SampleRow, ...]


def bars(result: Result, names: Sequence[str] = ()) -> tuple[Bar, ...]:
    """Returns the metrics of a result as bars with the baselines as marks.

    Args:
        result: One benchmark's result.
        names: The metrics wanted, in this order; all of the result when empty.
    """
    wanted = names or list(result.metrics)
    return tuple(
        Bar(
            label=label_of(name),
            value=score.value,
            interval=score.interval,
            count=score.count,
            marks={
                kind: metrics[name].value
                for kind, metrics in result.baselines.items()
                if name in metrics
            },
            parse_failure_rate=score.parse_failure_rate,
        )
        for name in wanted
        if (score := result.metrics.get(name)) is not None
    )


def label_of(metric: str) -> str:
    """Returns a metric's name in words."""
    if metric in _LABELS:
        return _LABELS[metric]
    words = metric.removeprefix("accuracy_").removesuffix("_accuracy").replace("_", " ")
    return words[:1].upper() + words[1:].replace("vqa", "VQA")


def galleries(result: Result, *, num: int = 12, seed: int = 0) -> tuple[Gallery, ...]:
    """Returns samples drawn evenly from the tasks: some of all, and some of the wrong ones.

    Args:
        result: One benchmark's result.
        num: Samples in each gallery, at most.
        seed: Of the draw.
    """
    wrong = [row for row in result.rows if next(iter(row.scores.values())) < 1]
    drawn = _drawn(result.rows, num, seed)
    groups = [
        Gallery(
            title="What it sees",
            note=f"Drawn at random from {len(result.rows):,} samples, tasks in turn; not picked.",
            rows=drawn,
        )
    ]
    if wrong:
        groups.append(
            Gallery(
                title="Where it fails",
                note=f"Drawn at random from the {len(wrong):,} samples that lost points.",
                rows=_drawn(wrong, num, seed),
            )
        )
    return tuple(groups)


def charts(log: Path) -> tuple[Chart, ...]:
    """Returns the curves of a log.jsonl: losses, accuracies and learning rates by step.

    After a resume the steps that were run again replace those before the interruption.
    """
    series = _series(log)
    groups: dict[str, list[Curve]] = defaultdict(list)
    for key, points in series.items():
        kind = _kind_of(key)
        if kind:
            noisy = kind == "Loss" and len(points) > 40
            curve = Curve(label=key.replace("_", " "), points=tuple(points), noisy=noisy)
            groups[kind].append(curve)
    return tuple(
        Chart(title=kind, x_label="step", curves=tuple(groups[kind]), percent=kind == "Accuracy")
        for kind in ("Loss", "Accuracy", "Learning rate")
        if kind in groups
    )


def _kind_of(key: str) -> str:
    if "loss" in key:
        return "Loss"
    if "accuracy" in key or key.endswith("exact_match"):
        return "Accuracy"
    return "Learning rate" if key == "lr" or key.startswith(("lr_", "learning_rate")) else ""


def _series(log: Path) -> dict[str, list[Point]]:
    series: dict[str, list[Point]] = defaultdict(list)
    for text in log.read_text(encoding="utf-8").split("\n"):
        row: dict[str, Any] = json.loads(text) if text.strip() else {}
        if "resumed_from" in row:
            for key, points in series.items():
                series[key] = [point for point in points if point[0] <= row["resumed_from"]]
        if "step" in row:
            for key, value in row.items():
                if isinstance(value, int | float) and not isinstance(value, bool) and key != "step":
                    series[key].append((float(row["step"]), float(value)))
    return series


def _drawn(rows: Sequence[SampleRow], num: int, seed: int) -> tuple[SampleRow, ...]:
    by_task: dict[str, list[SampleRow]] = defaultdict(list)
    for row in rows:
        by_task[row.task].append(row)
    rng = random.Random(seed)
    for members in by_task.values():
        rng.shuffle(members)
    queues = list(by_task.values())
    drawn: list[SampleRow] = []
    for turn in range(max(map(len, queues), default=0)):
        drawn.extend(queue[turn] for queue in queues if turn < len(queue))
    return tuple(drawn[:num])
