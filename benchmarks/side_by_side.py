"""Two ways of the same work, timed in turn, so that whatever slows the machine slows both."""

from collections.abc import Callable, Mapping
from statistics import median
from time import perf_counter

Way = Callable[[], object]


def ratios(ways: Mapping[str, Way], *, base: str, repetitions: int) -> dict[str, float]:
    """Returns the time of each way in units of that of the base: the median over rounds.

    Args:
        ways: what is timed, by name; each is run once before, to warm up.
        base: name of the way that the others are compared with.
        repetitions: rounds, in each of which every way is run once.
    """
    found: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values():
        way()
    for _ in range(repetitions):
        seconds = {name: _seconds(way) for name, way in ways.items()}
        for name, value in seconds.items():
            found[name].append(value / seconds[base])
    return {name: median(values) for name, values in found.items()}


def _seconds(way: Way) -> float:
    started = perf_counter()
    way()
    return perf_counter() - started
