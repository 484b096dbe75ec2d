import numpy as np
import pytest
from scipy import stats

from isthmus.evaluation.intervals import bootstrap, bootstrap_mean


def test_the_interval_of_a_normal_mean_is_its_known_one() -> None:
    values = np.random.default_rng(1).normal(3.0, 2.0, size=2000)
    interval = bootstrap_mean(values, resamples=4000)
    half = 1.96 * values.std() / np.sqrt(2000)
    assert interval.low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert interval.high == pytest.approx(values.mean() + half, abs=0.1 * half)


def test_95_percent_intervals_hold_the_truth_about_95_times_in_100() -> None:
    rng = np.random.default_rng(2)
    held = 0
    for seed in range(300):
        interval = bootstrap_mean(rng.random(80) < 0.7, seed=seed, resamples=400)
        held += interval.low <= 0.7 <= interval.high
    # fewer than 0.9 or more than 0.99 of 300 has a chance below one in a thousand at 0.945
    assert 270 <= held <= 297


def test_the_level_sets_the_width() -> None:
    values = np.random.default_rng(3).normal(size=1000)
    wide, narrow = (bootstrap_mean(values, level=level) for level in (0.95, 0.5))
    ratio = (wide.high - wide.low) / (narrow.high - narrow.low)
    assert ratio == pytest.approx(stats.norm.ppf(0.975) / stats.norm.ppf(0.75), rel=0.1)


def test_samples_of_one_cluster_are_drawn_together() -> None:
    rng = np.random.default_rng(4)
    per_picture = rng.random(100)
    values = np.repeat(per_picture, 9)
    clusters = [f"picture {index}" for index in np.repeat(np.arange(100), 9)]
    alone = bootstrap_mean(values)
    together = bootstrap_mean(values, clusters=clusters)
    # nine copies of a value say no more than one: the interval is three times as wide
    ratio = (together.high - together.low) / (alone.high - alone.low)
    assert ratio == pytest.approx(3.0, rel=0.1)
    assert together.low == pytest.approx(bootstrap_mean(per_picture).low, abs=0.01)


def test_clusters_of_unequal_size_weigh_by_their_samples() -> None:
    values = [1.0, 1.0, 1.0, 0.0]
    clusters = ["a", "a", "a", "b"]
    interval = bootstrap_mean(values, clusters=clusters)
    assert (interval.low, interval.high) == (0.0, 1.0)
    half = bootstrap_mean(values, clusters=clusters, level=0.4)
    assert half.low == half.high == 0.75


def test_any_statistic_of_weights_can_be_resampled() -> None:
    hits = np.array([1.0, 1.0, 0.0, 1.0] * 50)
    found = np.array([1.0, 1.0, 1.0, 1.0] * 50)

    def precision(weights: np.ndarray) -> np.ndarray:
        return (weights @ hits) / (weights @ found)

    assert bootstrap(precision, 200, seed=7) == bootstrap_mean(hits, seed=7)


def test_equal_seeds_give_equal_intervals_and_chunks_do_not_matter(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    values = np.random.default_rng(5).random(50)
    first = bootstrap_mean(values, seed=1)
    assert first == bootstrap_mean(values, seed=1)
    assert first != bootstrap_mean(values, seed=2)
    monkeypatch.setattr("isthmus.evaluation.intervals._CHUNK", 500)
    assert first == bootstrap_mean(values, seed=1)


def test_without_samples_there_is_no_interval() -> None:
    with pytest.raises(ValueError, match="no sample"):
        bootstrap_mean([])
    with pytest.raises(ValueError, match="2 cluster keys for 3 samples"):
        bootstrap_mean([1.0, 0.0, 1.0], clusters=["a", "b"])
