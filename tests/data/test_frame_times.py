"""Frames are chosen evenly, in order, and as many as asked, however short the clip is."""

import math
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.data.frame_times import (
    both_ends,
    clamped_fps,
    clamped_fps_by_time,
    left_edges,
    midpoints,
    num_at_rate,
    shown_at,
)

Rule = Callable[[int, int], list[int]]
RULES = (left_edges, midpoints, both_ends)

counts = st.integers(1, 2000)
asked = st.integers(1, 64)


@pytest.mark.parametrize("rule", RULES)
@given(num_frames=counts, num_asked=asked)
def test_as_many_as_asked_in_order_and_none_that_is_not_there(
    rule: Rule, num_frames: int, num_asked: int
) -> None:
    chosen = rule(num_frames, num_asked)
    assert len(chosen) == num_asked
    assert chosen == sorted(chosen)
    assert all(0 <= index < num_frames for index in chosen)


@pytest.mark.parametrize("rule", RULES)
@given(num_frames=counts, num_asked=asked)
def test_a_long_clip_repeats_no_frame_and_a_short_one_leaves_none_out(
    rule: Rule, num_frames: int, num_asked: int
) -> None:
    chosen = rule(num_frames, num_asked)
    assert len(set(chosen)) == min(num_frames, num_asked)
    if num_frames > 1:
        steps = [after - before for before, after in pairwise(chosen)]
        assert max(steps, default=0) - min(steps, default=0) <= 1  # evenly


@given(num_frames=counts, num_asked=asked)
def test_each_rule_is_its_formula(num_frames: int, num_asked: int) -> None:
    step = Fraction(num_frames, num_asked)
    half = Fraction(1, 2)
    assert left_edges(num_frames, num_asked) == [math.floor(i * step) for i in range(num_asked)]
    assert midpoints(num_frames, num_asked) == [
        math.floor((i + half) * step) for i in range(num_asked)
    ]
    places = np.linspace(0, num_frames - 1, num_asked)
    assert np.abs(np.array(both_ends(num_frames, num_asked)) - places).max() <= 0.5 + 1e-9


@given(num_frames=counts, num_asked=st.integers(2, 64))
def test_what_is_symmetric_looks_the_same_backwards(num_frames: int, num_asked: int) -> None:
    """But for a place between two frames, where the later one is taken."""
    places = {
        midpoints: lambda i: Fraction((2 * i + 1) * num_frames, 2 * num_asked),
        both_ends: lambda i: Fraction(i * (num_frames - 1), num_asked - 1) + Fraction(1, 2),
    }
    for rule, place in places.items():
        chosen = rule(num_frames, num_asked)
        backwards = [num_frames - 1 - index for index in reversed(chosen)]
        between = [place(i).denominator == 1 for i in range(num_asked)]
        assert backwards == [
            index - is_between for index, is_between in zip(chosen, between, strict=True)
        ]


def test_worked_examples() -> None:
    assert left_edges(10, 4) == [0, 2, 5, 7]
    assert midpoints(10, 4) == [1, 3, 6, 8]
    assert both_ends(10, 4) == [0, 3, 6, 9]
    assert left_edges(3, 7) == [0, 0, 0, 1, 1, 2, 2]
    assert midpoints(3, 7) == [0, 0, 1, 1, 1, 2, 2]
    assert both_ends(3, 7) == [0, 0, 1, 1, 1, 2, 2]
    assert [rule(10, 1) for rule in RULES] == [[0], [5], [0]]
    assert [rule(1, 3) for rule in RULES] == [[0, 0, 0]] * 3


@given(num_frames=counts)
def test_all_frames_are_all_frames_by_any_rule(num_frames: int) -> None:
    for rule in RULES:
        assert rule(num_frames, num_frames) == list(range(num_frames))


@given(num_frames=counts, num_asked=st.integers(2, 64))
def test_the_ends_that_a_rule_promises(num_frames: int, num_asked: int) -> None:
    assert left_edges(num_frames, num_asked)[0] == 0
    assert (left_edges(num_frames, num_asked)[-1] == num_frames - 1) == (num_frames <= num_asked)
    assert both_ends(num_frames, num_asked)[0] == 0
    assert both_ends(num_frames, num_asked)[-1] == num_frames - 1


@given(
    duration=st.floats(0.01, 10_000),
    per_second=st.floats(0.01, 60),
    least=st.integers(1, 8),
    more=st.integers(0, 800),
)
def test_the_number_at_a_rate_stays_within_its_limits(
    duration: float, per_second: float, least: int, more: int
) -> None:
    most = least + more
    number = num_at_rate(duration, per_second=per_second, least=least, most=most)
    assert least <= number <= most
    if least < number < most:
        assert abs(number - duration * per_second) <= 0.5 + 1e-6


def test_a_rate_is_kept_between_the_limits() -> None:
    limits = {"per_second": 2, "least": 4, "most": 8}
    assert clamped_fps(90, 30, **limits) == [0, 15, 30, 45, 60, 75]  # 3 s: each half a second
    assert clamped_fps(30, 30, **limits) == [0, 7, 15, 22]  # 1 s: more often
    assert clamped_fps(3000, 30, **limits) == left_edges(3000, 8)  # 100 s: less often
    assert clamped_fps(2, 30, **limits) == [0, 0, 1, 1]


@given(
    num_frames=st.integers(1, 600),
    fps=st.sampled_from([1, 10, 12, 15, 24, 25, 30, 50]),
    per_second=st.sampled_from([0.5, 1, 2, 4]),
    shift=st.floats(0, 5e-4),
)
def test_by_time_is_by_number_where_frames_last_equally_long(
    num_frames: int, fps: int, per_second: float, shift: float
) -> None:
    """Whichever way the times were rounded to milliseconds."""
    limits = {"per_second": per_second, "least": 2, "most": 16}
    times = [index / fps + shift for index in range(num_frames)]
    by_time = clamped_fps_by_time(times, num_frames / fps, **limits)
    by_number = clamped_fps(num_frames, fps, **limits)
    # A moment that falls within the rounding before a frame may show that frame.
    places = [i * num_frames / fps / len(by_number) for i in range(len(by_number))]
    for chosen, expected, moment in zip(by_time, by_number, places, strict=True):
        is_near = chosen < num_frames and times[chosen] - moment <= 1e-3
        assert chosen == expected or (chosen == expected + 1 and is_near)


def test_a_frame_that_stays_long_is_shown_for_long() -> None:
    times = [0.0, 0.1, 0.15, 0.9, 1.0, 2.0]
    limits = {"per_second": 2, "least": 1, "most": 8}
    # At 0, 0.5, 1, 1.5, 2 and 2.5 seconds.
    assert clamped_fps_by_time(times, 3.0, **limits) == [0, 2, 4, 4, 5, 5]
    assert shown_at(times, [-1, 0.0999, 0.12, 99]) == [0, 1, 1, 5]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: left_edges(0, 8), "num_frames is 0; expected 1 frame or more"),
        (lambda: midpoints(8, 0), "num_asked is 0"),
        (lambda: both_ends(-1, 8), "num_frames is -1"),
        (lambda: clamped_fps(8, 0, per_second=1, least=1, most=2), "fps is 0"),
        (lambda: num_at_rate(1, per_second=0, least=1, most=2), "per_second is 0"),
        (lambda: num_at_rate(1, per_second=math.nan, least=1, most=2), "per_second is nan"),
        (lambda: num_at_rate(1, per_second=1, least=3, most=2), "least is 3 and most 2"),
        (lambda: num_at_rate(1, per_second=1, least=0, most=2), "least is 0"),
        (lambda: shown_at([], [0.0]), "the clip has no frame"),
    ],
)
def test_what_makes_no_sense_is_refused(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
