"""Two ways of the same work, timed in turn, so that whatever slows the machine slows both."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median
from time import perf_counter, process_time
from typing import final

Way = Callable[[], object]


@final
@dataclass(frozen=True)
class Ratios:
    """Times of a way in units of those of the base, one per round.

    Where others use the machine, time on the clock holds their turns, too; processor time holds the
    work of this process alone, that of all its threads.
    """

    clock: list[float]
    processor: list[float]


def ratios(ways: Mapping[str, Way], *, base: str, repetitions: int) -> dict[str, float]:
    """Returns the time of each way in units of that of the base: the median over rounds.

    Args:
        ways: what is timed, by name; each is run once before, to warm up.
        base: name of the way that the others are compared with.
        repetitions: rounds, in each of which every way is run once.
    """
    found = compare(ways, base=base, repetitions=repetitions)
    return {name: median(each.clock) for name, each in found.items()}


def compare(ways: Mapping[str, Way], *, base: str, repetitions: int) -> dict[str, Ratios]:
    """Returns the times of each way, in units of those of the base.

    Args:
        ways: what is timed, by name; each is run once before, to warm up.
        base: name of the way that the others are compared with.
        repetitions: rounds, in each of which every way is run once.
    """
    found: dict[str, Ratios] = {name: Ratios([], []) for name in ways}
    for way in ways.values():
        way()
    order = list(ways)
    for _ in range(repetitions):
        spent = {name: _spent(ways[name]) for name in order}
        for name, (clock, processor) in spent.items():
            found[name].clock.append(clock / spent[base][0])
            found[name].processor.append(processor / spent[base][1])
        # What runs second finds another cache and another heap than what runs first.
        order.reverse()
    return found


def _spent(way: Way) -> tuple[float, float]:
    clock, processor = perf_counter(), process_time()
    way()
    return perf_counter() - clock, process_time() - processor
