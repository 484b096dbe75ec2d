"""Bootstrap intervals: how far a score would move on another draw of samples of the same kind."""

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

RESAMPLES = 2000
"""Resamples for a percentile interval; its ends vary by some 2 % of its width with the seed."""

_CHUNK = 4_000_000
"""Weights held in memory at once. Units: float64 numbers, 32 MB."""

Statistic = Callable[[np.ndarray], np.ndarray]
"""Maps weights (resamples, samples), the number of times each sample was drawn, to (resamples,)."""


@final
@dataclass(frozen=True, kw_only=True)
class Interval:
    """The middle of the bootstrap distribution."""

    low: float
    """Lower end, in the unit of the score."""

    high: float
    """Upper end, in the unit of the score."""


def bootstrap(
    statistic: Statistic,
    num_samples: int,
    *,
    clusters: Sequence[Hashable] | None = None,
    seed: int = 0,
    level: float = 0.95,
    resamples: int = RESAMPLES,
) -> Interval:
    """Returns the percentile bootstrap interval of any statistic of a weighted set of samples.

    Args:
        statistic: The score as a function of sample weights, over many resamples at once. A mean,
            a ratio such as F1 and a group-wise score can all be written so.
        num_samples: How many samples there are.
        clusters: One key per sample. Samples with equal keys (questions on one picture) are not
            independent, so whole clusters are drawn; None draws single samples.
        seed: Equal seeds give equal intervals.
        level: The share of the bootstrap distribution between both ends.
        resamples: How many times the set is drawn again.

    Raises:
        ValueError: there is no sample, or not one cluster key for each.
    """
    if num_samples < 1:
        raise ValueError("no sample to draw from; expected at least one scored sample")
    if clusters is not None and len(clusters) != num_samples:
        raise ValueError(
            f"{len(clusters)} cluster keys for {num_samples} samples; expected as many"
        )
    keys = range(num_samples) if clusters is None else clusters
    position = {key: index for index, key in enumerate(dict.fromkeys(keys))}
    member = np.fromiter((position[key] for key in keys), dtype=np.int64, count=num_samples)
    rng = np.random.default_rng(seed)
    values = np.concatenate(
        [
            statistic(drawn[:, member])
            for drawn in _draws(rng, len(position), num_samples, resamples)
        ]
    )
    tail = (1 - level) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return Interval(low=float(low), high=float(high))


def bootstrap_mean(
    values: Sequence[float] | np.ndarray,
    *,
    clusters: Sequence[Hashable] | None = None,
    seed: int = 0,
    level: float = 0.95,
    resamples: int = RESAMPLES,
) -> Interval:
    """Returns the percentile bootstrap interval of a mean; see `bootstrap`."""
    scores = np.asarray(values, dtype=np.float64)

    def mean(weights: np.ndarray) -> np.ndarray:
        return (weights @ scores) / weights.sum(axis=1)

    return bootstrap(
        mean, len(scores), clusters=clusters, seed=seed, level=level, resamples=resamples
    )


def _draws(
    rng: np.random.Generator, num_clusters: int, num_samples: int, resamples: int
) -> Iterator[np.ndarray]:
    """Yields counts (resamples, clusters) in chunks: how often each cluster was drawn."""
    step = max(1, _CHUNK // max(num_clusters, num_samples))
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        drawn = rng.integers(num_clusters, size=(rows, num_clusters))
        drawn += np.arange(rows)[:, None] * num_clusters
        counts = np.bincount(drawn.ravel(), minlength=rows * num_clusters)
        yield counts.reshape(rows, num_clusters).astype(np.float64)
