"""The table of a study: means over seeds, and paired differences against a reference.

Two things make a difference uncertain: the seeds of training and the samples of the test. There is
an interval for each. Seeds are few, so theirs is Student's; samples are many and share
pictures, so theirs is a bootstrap over pictures of the difference averaged over seeds.
"""

import json
from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
from rich.table import Table
from scipy import stats

from isthmus.evaluation.compare import read_rows
from isthmus.evaluation.intervals import Interval, bootstrap_mean
from isthmus.evaluation.results import SAMPLES_FILE
from isthmus.study.run import Run

Scores = dict[str, float]
"""Score of each sample, by id."""


@final
@dataclass(frozen=True, kw_only=True)
class Difference:
    """A recipe minus the reference, on the same seeds and the same samples."""

    value: float
    over_seeds: Interval | None
    """95 % Student interval of the seed-wise differences; None with fewer than two seeds."""

    over_samples: Interval
    """95 % bootstrap interval over pictures, of the difference averaged over the seeds."""

    seeds: int
    """Seeds that both have."""


@final
@dataclass(frozen=True, kw_only=True)
class Line:
    """One recipe of the study."""

    name: str
    mean: float
    """Mean of the metric over seeds."""

    over_seeds: Interval | None
    """95 % Student interval of that mean; None with fewer than two seeds."""

    over_samples: Interval
    """95 % bootstrap interval over pictures, of the scores averaged over the seeds."""

    seeds: tuple[int, ...]
    """Seeds that are finished."""

    difference: Difference | None = None
    """Against the reference; None for the reference itself, and where no seed is shared."""


@final
@dataclass(frozen=True, kw_only=True)
class StudyTable:
    """All recipes of a study under one metric."""

    metric: str
    reference: str
    """The recipe that the others are compared with."""

    samples: int
    """Samples that carry the metric, the same for all."""

    tasks: tuple[str, ...] = ()
    """Tasks whose samples those are; of all tasks when empty."""

    lines: tuple[Line, ...]

    def to_dict(self) -> dict[str, Any]:
        """Returns the table as JSON-able values."""
        return asdict(self)

    def by_recipe(self) -> dict[str, Any]:
        """Returns the lines as JSON-able values, by the name of their recipe."""
        return {line.name: asdict(line) for line in self.lines}


def tabulate(
    runs: Sequence[Run],
    *,
    metric: str,
    reference: str,
    tasks: Collection[str] = (),
    seed: int = 0,
) -> StudyTable:
    """Returns the table of the finished runs of a study.

    Args:
        runs: The runs of the study, as `grid` gave them; unfinished ones are left out.
        metric: Which score of samples.jsonl.
        reference: The recipe that the others are compared with.
        tasks: Tasks whose samples count, such as the spatial ones; all when empty.
        seed: Of the bootstrap.

    Raises:
        ValueError: the reference has no finished run, or two runs scored different samples.
    """
    scores: dict[str, dict[int, Scores]] = {}
    clusters: dict[str, Hashable] = {}
    for run in runs:
        if run.finished:
            rows = read_rows(run.folder / SAMPLES_FILE)
            members = {
                key: row
                for key, row in rows.items()
                if metric in row and (not tasks or row["task"] in tasks)
            }
            values = {key: float(row[metric]) for key, row in members.items()}
            clusters = clusters or {key: row.get("cluster", key) for key, row in members.items()}
            _check(values, clusters, run, metric)
            scores.setdefault(run.name, {})[run.recipe.seed] = values
    if reference not in scores:
        raise ValueError(
            f"the reference {reference!r} has no finished run; finished are {sorted(scores)}"
        )
    lines = tuple(
        _line(name, by_seed, None if name == reference else scores[reference], clusters, seed)
        for name, by_seed in scores.items()
    )
    return StudyTable(
        metric=metric,
        reference=reference,
        samples=len(clusters),
        tasks=tuple(tasks),
        lines=lines,
    )


def rich_table(table: StudyTable) -> Table:
    """Returns the table for a terminal."""
    of = f" of {', '.join(table.tasks)}" if table.tasks else ""
    drawn = Table(title=f"{table.metric}, {table.samples:,} samples{of}")
    for number, heading in enumerate(_headings(table)):
        drawn.add_column(heading, justify="right" if number else "left")
    for cells in map(_cells, table.lines):
        drawn.add_row(*cells)
    return drawn


def markdown(table: StudyTable) -> str:
    """Returns the table for a README or a note."""
    headings = _headings(table)
    rule = ["---", *["---:"] * (len(headings) - 1)]
    rows = [
        headings,
        rule,
        *([cell.replace("|", "\\|") for cell in _cells(line)] for line in table.lines),
    ]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def write(table: StudyTable, directory: Path) -> None:
    """Writes table.json and table.md into the folder of a study."""
    text = json.dumps(table.to_dict(), indent=2, allow_nan=False)
    (directory / "table.json").write_text(f"{text}\n", encoding="utf-8")
    (directory / "table.md").write_text(markdown(table), encoding="utf-8")


def student_interval(values: Sequence[float], level: float = 0.95) -> Interval | None:
    """Returns Student's interval of a mean; None for fewer than two values."""
    if len(values) < 2:
        return None
    mean, spread = float(np.mean(values)), float(np.std(values, ddof=1))
    half = float(stats.t.ppf((1 + level) / 2, len(values) - 1)) * spread / len(values) ** 0.5
    return Interval(low=mean - half, high=mean + half)


def _check(values: Scores, expected: Mapping[str, Hashable], run: Run, metric: str) -> None:
    if values.keys() != expected.keys() or not values:
        raise ValueError(
            f"{run.folder} has {len(values)} samples with {metric!r}, the first run of the study "
            f"{len(expected)}, not the same ones; evaluate all runs on the same data"
        )


def _line(
    name: str,
    by_seed: Mapping[int, Scores],
    reference: Mapping[int, Scores] | None,
    clusters: Mapping[str, Hashable],
    seed: int,
) -> Line:
    values = np.array([[scores[key] for key in clusters] for scores in by_seed.values()])
    return Line(
        name=name,
        mean=float(values.mean()),
        over_seeds=student_interval(values.mean(axis=1).tolist()),
        over_samples=_over_samples(values, clusters, seed),
        seeds=tuple(by_seed),
        difference=_difference(by_seed, reference, clusters, seed) if reference else None,
    )


def _difference(
    by_seed: Mapping[int, Scores],
    reference: Mapping[int, Scores],
    clusters: Mapping[str, Hashable],
    seed: int,
) -> Difference | None:
    shared = [key for key in by_seed if key in reference]
    if not shared:
        return None
    differences = np.array(
        [[by_seed[one][key] - reference[one][key] for key in clusters] for one in shared]
    )
    return Difference(
        value=float(differences.mean()),
        over_seeds=student_interval(differences.mean(axis=1).tolist()),
        over_samples=_over_samples(differences, clusters, seed),
        seeds=len(shared),
    )


def _over_samples(values: np.ndarray, clusters: Mapping[str, Hashable], seed: int) -> Interval:
    """Returns the bootstrap interval of values by seed and sample."""
    return bootstrap_mean(values.mean(axis=0), clusters=list(clusters.values()), seed=seed)


def _headings(table: StudyTable) -> list[str]:
    against = f"minus {table.reference}"
    return ["recipe", f"{table.metric} %", "seeds", against, "over seeds", "over samples"]


def _cells(line: Line) -> list[str]:
    mean = f"{100 * line.mean:.1f}"
    if line.over_seeds:
        mean += f" +- {50 * (line.over_seeds.high - line.over_seeds.low):.1f}"
    cells = [line.name, mean, str(len(line.seeds))]
    if line.difference is None:
        return [*cells, "", "", ""]
    difference = line.difference
    return [
        *cells,
        f"{100 * difference.value:+.1f}",
        _range(difference.over_seeds),
        _range(difference.over_samples),
    ]


def _range(interval: Interval | None) -> str:
    if interval is None:
        return ""
    return f"{100 * interval.low:+.1f} to {100 * interval.high:+.1f}"
