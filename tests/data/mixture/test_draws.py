"""Draws are a pure function, keep the shares to the letter, and show each row before any again."""

from collections import Counter
from itertools import pairwise
from math import ceil, floor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.data.mixture.draws import BLOCKS_AT_ONCE, Draw, Draws

SIZES = st.lists(st.integers(1, 30), min_size=1, max_size=5)


def even(sizes: list[int]) -> list[float]:
    return [1 / len(sizes)] * len(sizes)


def epoch(draws: Draws, number: int) -> list[Draw]:
    return [draws.draw(number, n) for n in range(draws.num)]


@settings(deadline=None)
@given(sizes=SIZES, num=st.integers(1, 60), seed=st.integers(0, 3), number=st.integers(0, 4))
def test_a_draw_does_not_depend_on_those_before(
    sizes: list[int], num: int, seed: int, number: int
) -> None:
    draws = Draws(sizes, even(sizes), num=num, seed=seed)
    found = epoch(draws, number)
    fresh = Draws(sizes, even(sizes), num=num, seed=seed)
    assert [fresh.draw(number, n) for n in reversed(range(num))] == found[::-1]
    counts = Counter(draw.dataset for draw in found)
    assert [counts[n] for n in range(len(sizes))] == draws.counts(number)
    assert all(0 <= draw.row < sizes[draw.dataset] for draw in found)


@settings(deadline=None)
@given(sizes=SIZES, num=st.integers(1, 40), seed=st.integers(0, 3))
def test_a_row_comes_again_only_after_all_others(sizes: list[int], num: int, seed: int) -> None:
    draws = Draws(sizes, even(sizes), num=num, seed=seed)
    met: dict[int, list[int]] = {n: [] for n in range(len(sizes))}
    for number in range(5):
        for draw in epoch(draws, number):
            met[draw.dataset].append(draw.row)
    for dataset, rows in met.items():
        counts = Counter(rows)
        spread = [counts[row] for row in range(sizes[dataset])]
        assert max(spread) - min(spread) <= 1


@settings(deadline=None)
@given(sizes=st.lists(st.integers(1, 6), min_size=1, max_size=30), seed=st.integers(0, 3))
def test_rows_of_a_block_are_drawn_near_one_another(sizes: list[int], seed: int) -> None:
    ends = np.cumsum([0, *sizes])
    num = int(ends[-1])
    draws = Draws([num], [1.0], num=num, seed=seed, blocks={0: ends})
    rows = [draw.row for draw in epoch(draws, 0)]
    assert sorted(rows) == list(range(num))
    met = [int(np.searchsorted(ends, row, side="right")) - 1 for row in rows]
    at_once = [
        sum(
            met.index(block) <= n <= num - 1 - met[::-1].index(block) for block in range(len(sizes))
        )
        for n in range(num)
    ]
    assert max(at_once) <= BLOCKS_AT_ONCE
    if num > 20:
        assert rows != [draw.row for draw in epoch(draws, 1)]


@given(
    weights=st.lists(st.floats(0.01, 1), min_size=1, max_size=6),
    num=st.integers(1, 500),
    seed=st.integers(0, 9),
)
def test_counts_are_the_shares_rounded(weights: list[float], num: int, seed: int) -> None:
    shares = [weight / sum(weights) for weight in weights]
    counts = Draws([9] * len(shares), shares, num=num, seed=seed).counts(0)
    assert sum(counts) == num
    for count, share in zip(counts, shares, strict=True):
        assert floor(share * num - 1e-9) <= count <= ceil(share * num + 1e-9)


def test_over_the_epochs_the_shares_are_exact() -> None:
    shares = [0.55, 0.27, 0.18]
    draws = Draws([5, 5, 5], shares, num=7, seed=0)
    counts = [draws.counts(number) for number in range(4000)]
    for place, share in enumerate(shares):
        mean = sum(count[place] for count in counts) / 4000
        assert mean == pytest.approx(7 * share, abs=0.04)  # five standard errors at most


def test_every_row_once_when_shares_are_sizes() -> None:
    sizes = [17, 3, 40]
    draws = Draws(sizes, [size / 60 for size in sizes], num=60, seed=1)
    found = [(draw.dataset, draw.row) for draw in epoch(draws, 0)]
    assert sorted(found) == [(n, row) for n, size in enumerate(sizes) for row in range(size)]
    assert found != [(draw.dataset, draw.row) for draw in epoch(draws, 1)]
    datasets = [dataset for dataset, _ in found]
    assert sum(a != b for a, b in pairwise(datasets)) > 15  # they are mixed


def test_seeds_epochs_and_numbers_have_chances_of_their_own() -> None:
    chances = {
        Draws([5], [1.0], num=3, seed=seed).draw(number, n).chance
        for seed in (0, 1)
        for number in (0, 1)
        for n in (0, 1)
    }
    assert len(chances) == 8


def test_a_share_of_no_rows_is_refused() -> None:
    with pytest.raises(ValueError, match=r"a data set of no rows has the share 0.5"):
        Draws([3, 0], [0.5, 0.5], num=4, seed=0)
