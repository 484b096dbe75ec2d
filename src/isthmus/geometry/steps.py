"""Edges in whole steps: what the numbers of a text measure, how finely, and rounded which way."""

import math
import re
from dataclasses import dataclass
from typing import final

from isthmus.geometry.view import Size

_HALF = 0.2
"""Half of what lies between two edges on one step, in steps: enough for an area, and so little that
both are written as that step again."""


@final
@dataclass(frozen=True, kw_only=True)
class Axis:
    """One side of what is measured, in pixels of the picture and in steps."""

    start: float
    """Left or upper end. Units: pixels of the picture."""
    end: float
    """Right or lower end. Units: pixels of the picture."""
    num_steps: float
    """Steps from start to end."""
    is_cell: bool = False
    """A step is the cell that holds the edge, and read as its middle; or else it is the nearest
    mark, and read as it stands."""

    @property
    def largest(self) -> int:
        """The last step."""
        return round(self.num_steps) - (1 if self.is_cell else 0)

    def position(self, edge: float) -> float:
        """Returns where an edge lies, in steps; whole pixels on a whole step are met exactly."""
        return (edge - self.start) * self.num_steps / (self.end - self.start)

    def edge(self, position: float) -> float:
        """Returns what lies at a position. Units: pixels of the picture."""
        return self.start + position / self.num_steps * (self.end - self.start)

    def step(self, edge: float) -> int:
        """Returns the step that an edge falls on, the nearest one where it lies outside."""
        position = self.position(edge)
        step = math.floor(position) if self.is_cell else round(position)
        return min(max(step, 0), self.largest)

    def edges(self, first: int | None, last: int | None) -> tuple[float, float] | None:
        """Returns the edges that two steps stand for, in order and never the same.

        None where a step is missing, or they are in the wrong order.
        """
        if first is None or last is None or first > last:
            return None
        shift = 0.5 if self.is_cell else 0.0
        low, high = first + shift, min(last + shift, self.num_steps)
        if first == last:
            middle = min(max(low, _HALF), self.num_steps - _HALF)
            low, high = middle - _HALF, middle + _HALF
        return self.edge(low), self.edge(high)


def axes_of(
    size: Size, num_steps: tuple[float, float], *, is_cell: bool = False, is_padded: bool = False
) -> tuple[Axis, Axis]:
    """Returns the sides of a picture, from left to right and from top to bottom.

    Args:
        size: width and height of the picture.
        num_steps: steps of either side.
        is_cell: whether steps are cells.
        is_padded: whether the sides are those of the square that padding makes of the picture; of
            an odd difference the smaller half lies left or above.

    Raises:
        ValueError: the picture has no area.
    """
    check_size(size)
    longest = max(size)
    starts = [-((longest - side) // 2) if is_padded else 0 for side in size]
    across, down = (
        Axis(
            start=start,
            end=start + longest if is_padded else side,
            num_steps=number,
            is_cell=is_cell,
        )
        for start, side, number in zip(starts, size, num_steps, strict=True)
    )
    return across, down


def check_size(size: Size) -> None:
    """Checks that a picture has an area.

    Raises:
        ValueError: it has none.
    """
    if len(size) != 2 or not (size[0] > 0 and size[1] > 0):
        raise ValueError(f"the picture size {size!r} has no area; expected (width, height)")


def step_of(number: str, largest: int, num_decimals: int = 0) -> int | None:
    """Returns the step that a number in a text names; None when it is none, too long or too large.

    Args:
        number: digits, and perhaps a point.
        largest: the last step.
        num_decimals: most digits behind the point; with 3, `0.25` is step 250.
    """
    match = re.fullmatch(r"(\d*)(?:\.(\d+))?", number)
    whole, decimals = match.groups(default="") if match else ("", "")
    num_digits = len(str(largest // 10**num_decimals))
    if not whole + decimals or len(whole) > num_digits or len(decimals) > num_decimals:
        return None
    step = int(whole + decimals.ljust(num_decimals, "0"))
    return step if step <= largest else None
