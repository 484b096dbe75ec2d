"""Ways are timed in turn, on two clocks, and compared within rounds."""

from collections.abc import Callable

import pytest

from benchmarks import side_by_side
from benchmarks.side_by_side import compare, ratios


@pytest.fixture
def way(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Callable[[], None]]:
    """Makes ways that take what they are told to, run after run, on clocks that only they move."""
    now = {"perf_counter": 0.0, "process_time": 0.0}
    for clock in now:
        monkeypatch.setattr(side_by_side, clock, lambda clock=clock: now[clock])

    def make(clock: list[float], processor: list[float], log: Callable[[], None]) -> Callable:
        runs = iter(zip([99.0, *clock], [99.0, *processor], strict=True))

        def run() -> None:
            log()
            for name, spent in zip(now, next(runs), strict=True):
                now[name] += spent

        return run

    return make


def test_rounds_are_compared_each_for_itself(way: Callable[..., Callable[[], None]]) -> None:
    order: list[str] = []
    ways = {
        # The second round is slow for both, as when another process has its turn.
        "base": way([1.0, 10.0, 1.0], [1.0, 2.0, 1.0], lambda: order.append("base")),
        "other": way([2.0, 20.0, 5.0], [3.0, 6.0, 4.0], lambda: order.append("other")),
    }
    found = compare(ways, base="base", repetitions=3)
    assert found["base"].clock == found["base"].processor == [1, 1, 1]
    assert found["other"].clock == [2, 2, 5]
    assert found["other"].processor == [3, 3, 4]
    # Once to warm up, then first and second in turn.
    assert order == ["base", "other"] * 2 + ["other", "base"] + ["base", "other"]


def test_the_ratio_is_the_median_of_rounds(way: Callable[..., Callable[[], None]]) -> None:
    ways = {
        "base": way([1.0] * 3, [1.0] * 3, lambda: None),
        "other": way([2.0, 9.0, 3.0], [1.0] * 3, lambda: None),
    }
    assert ratios(ways, base="base", repetitions=3) == {"base": 1, "other": 3}
