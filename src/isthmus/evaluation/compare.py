"""Two models on the same samples: the paired difference, its interval and its p-value."""

import json
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
from scipy import stats

from isthmus.evaluation.intervals import Interval, bootstrap_mean


@final
@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The second model minus the first, sample by sample."""

    metric: str
    """The score that was compared."""

    count: int
    """Samples that both have."""

    first: float
    """Mean of the first model over those samples."""

    second: float
    """Mean of the second model over those samples."""

    difference: float
    """Second minus first."""

    interval: Interval
    """95 % bootstrap interval of the difference; samples of one picture are drawn together."""

    p_value: float
    """Of the two-sided paired t-test that both means are equal; it takes samples as independent."""

    only_first: int
    """Samples left out because the second model lacks them."""

    only_second: int
    """Samples left out because the first model lacks them."""


def compare(first: Path, second: Path, metric: str = "score", *, seed: int = 0) -> Comparison:
    """Compares two samples.jsonl files by sample id.

    Raises:
        ValueError: no sample is in both files, or one of them lacks the metric.
    """
    return compare_rows(read_rows(first), read_rows(second), metric, seed=seed)


def compare_rows(
    first: Mapping[str, Mapping[str, Any]],
    second: Mapping[str, Mapping[str, Any]],
    metric: str = "score",
    *,
    seed: int = 0,
) -> Comparison:
    """Compares two sets of sample rows by sample id; see `compare`."""
    a, b = (_scores(rows, metric) for rows in (first, second))
    shared = [key for key in a if key in b]
    if not shared:
        raise ValueError(
            f"no sample has {metric!r} in both; expected the same benchmark on the same data"
        )
    left = np.array([a[key] for key in shared])
    right = np.array([b[key] for key in shared])
    clusters: list[Hashable] = [first[key].get("cluster", key) for key in shared]
    return Comparison(
        metric=metric,
        count=len(shared),
        first=float(left.mean()),
        second=float(right.mean()),
        difference=float((right - left).mean()),
        interval=bootstrap_mean(right - left, clusters=clusters, seed=seed),
        p_value=paired_p_value(right - left),
        only_first=len(a) - len(shared),
        only_second=len(b) - len(shared),
    )


def paired_p_value(differences: np.ndarray) -> float:
    """Returns the p-value of the two-sided paired t-test that the mean difference is zero."""
    if len(differences) == 1:
        return 1.0  # one pair has no spread and so speaks against nothing
    if np.ptp(differences) == 0:  # without spread t is 0/0 or infinite, and scipy only warns
        return float(differences[0] == 0)
    return float(stats.ttest_1samp(differences, 0.0).pvalue)


def read_rows(path: Path) -> dict[str, dict[str, Any]]:
    """Reads a samples.jsonl into rows by id.

    Raises:
        ValueError: a row is no JSON object, lacks an id, or repeats one.
    """
    rows: dict[str, dict[str, Any]] = {}
    # split on line feeds alone: JSON text may hold other characters that splitlines would cut at
    lines = path.read_text(encoding="utf-8").rstrip("\n").split("\n")
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
            key = str(row["id"])
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise ValueError(f"{path}, line {number}: expected an object with an id") from error
        if key in rows:
            raise ValueError(f"{path}, line {number}: the id {key!r} was seen before")
        rows[key] = row
    return rows


def _scores(rows: Mapping[str, Mapping[str, Any]], metric: str) -> dict[str, float]:
    scores = {key: float(row[metric]) for key, row in rows.items() if metric in row}
    if not scores:
        known = sorted({name for row in rows.values() for name in row.get("metrics", ())})
        raise ValueError(f"no row carries {metric!r}; expected one of {['score', *known]}")
    return scores
