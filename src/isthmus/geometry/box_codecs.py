"""How boxes of a picture become a text and come back: the contract, and what conventions share."""

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import final

from isthmus.geometry.boxes import (
    Box,
    ParsedBoxes,
    check_box,
    format_boxes,
    intersection,
    parse_boxes,
)
from isthmus.geometry.steps import Axis, axes_of, check_size, step_of
from isthmus.geometry.view import Size

_AROUND = " [](){}<>"
"""What may stand around the numbers of a box without changing them."""
_PATCHES = 32
"""Cells of a side, of Kosmos-2."""


class BoxText(ABC):
    """A convention: how boxes of a picture stand in a text."""

    @abstractmethod
    def write(
        self, boxes: Iterable[Sequence[float]], size: Size, resized: Size | None = None
    ) -> str:
        """Returns the text of some boxes; what lies outside of the picture is cut off.

        Args:
            boxes: at least one. Units: pixels of the picture.
            size: width and height of the picture, turned upright.
            resized: those of the picture as the model meets it, for a convention that counts them.

        Raises:
            ValueError: there is no box, one has no area or lies outside, a size has no area, or
                the convention needs the resized one.
        """

    @abstractmethod
    def read(self, text: str, size: Size, resized: Size | None = None) -> ParsedBoxes:
        """Reads every box of a text, in pixels of the picture, and raises at no text.

        Every box has an area, also one whose edges are the same number. In a padded square it may
        reach into the padding. What opens a box but can't be read is reported, and never guessed:
        other than four numbers, one too large or of too many digits, corners in the wrong order,
        words, and the last piece of brackets that never close.

        Args:
            text: whatever a model wrote.
            size: width and height of the picture, turned upright.
            resized: those of the picture as the model meets it, for a convention that counts them.

        Raises:
            ValueError: a size has no area, or the convention needs the resized one.
        """


@final
@dataclass(frozen=True)
class CellText(BoxText):
    """Cells of the picture in double brackets, as `isthmus.geometry.boxes` has them.

    Paper: CogVLM, arXiv 2311.03079 (3 digits).
    """

    digits: int
    """Digits of a cell, 2 or 3."""

    def write(
        self, boxes: Iterable[Sequence[float]], size: Size, resized: Size | None = None
    ) -> str:
        """Writes the cell that holds each edge."""
        x, y = axes_of(size, (1, 1))
        return format_boxes([_within(box, x, y) for box in boxes], size, self.digits)

    def read(self, text: str, size: Size, resized: Size | None = None) -> ParsedBoxes:
        """Reads the middle of each cell."""
        check_size(size)
        return parse_boxes(text, size, self.digits)


@final
@dataclass(frozen=True, kw_only=True)
class Layout:
    """Where the numbers of boxes stand in a text."""

    begun: str
    """Pattern of what sets out to be boxes: all behind the opening is its group `inner`, and its
    group `end` is empty where the text breaks off."""
    opens: str
    """What stands before the first box."""
    box: str
    """One box, with `{}` for each number."""
    joins: str
    """What stands between two boxes."""
    closes: str
    """What stands behind the last box."""
    is_shared: bool = False
    """Boxes that follow each other are begun once, or else each for itself."""

    def write(self, boxes: Iterable[Sequence[str]]) -> str:
        """Returns the text of boxes, of which each is its numbers.

        Raises:
            ValueError: there is no box.
        """
        written = [self.box.format(*numbers) for numbers in boxes]
        if not written:
            raise ValueError("no box to write; expected at least one, or leave the brackets out")
        return self.opens + self.joins.join(written) + self.closes

    def read(self, text: str) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Yields what sets out to be a box, with its numbers; none where it is not one.

        Spaces, and brackets around a box, are as the model likes.
        """
        pattern = re.compile(r"([\d.]+)".join(map(_loosely, self.box.split("{}"))))
        for found in re.finditer(self.begun, text, re.DOTALL):
            inner = " ".join(found["inner"].split())
            pieces = re.split(_loosely(self.joins), inner) if self.is_shared else [inner]
            for position, piece in enumerate(pieces):
                is_cut = not found["end"] and position == len(pieces) - 1
                match = None if is_cut else pattern.fullmatch(piece.strip(_AROUND))
                yield piece.strip(), match.groups() if match else ()


@final
@dataclass(frozen=True, kw_only=True)
class GridText(BoxText):
    """Four numbers, each an edge in steps of a side."""

    layout: Layout
    """Where the numbers stand."""
    num_steps: int | None = 1000
    """Steps of a side; None counts pixels of the picture as the model meets it."""
    num_pixels: int = 1
    """Pixels of a step, where they are counted."""
    is_padded: bool = False
    """The sides are those of the square that padding makes of the picture."""
    is_cell: bool = False
    """Steps are cells, or else marks; see `Axis`."""
    order: tuple[int, int, int, int] = (0, 1, 2, 3)
    """Which of left, top, right and bottom stands first, second, third and fourth."""
    num_decimals: int = 0
    """Most digits behind the point: 3 for thousandths of a side, 0 for whole steps."""
    style: str = ""
    """How a number is written, as Python's `format` has it."""

    def write(
        self, boxes: Iterable[Sequence[float]], size: Size, resized: Size | None = None
    ) -> str:
        """Writes the step that each edge falls on."""
        x, y = self._axes(size, resized)
        rows = []
        for box in boxes:
            left, top, right, bottom = _within(box, x, y)
            steps = (x.step(left), y.step(top), x.step(right), y.step(bottom))
            rows.append([self._number(steps[edge]) for edge in self.order])
        return self.layout.write(rows)

    def read(self, text: str, size: Size, resized: Size | None = None) -> ParsedBoxes:
        """Reads the middle of each cell, or each mark as it stands."""
        x, y = self._axes(size, resized)
        return _parsed((piece, self._box(n, x, y)) for piece, n in self.layout.read(text))

    def _box(self, numbers: Sequence[str], x: Axis, y: Axis) -> Box | None:
        if not numbers:
            return None
        left, top, right, bottom = (
            step_of(numbers[self.order.index(edge)], axis.largest, self.num_decimals)
            for edge, axis in enumerate((x, y, x, y))
        )
        across, down = x.edges(left, right), y.edges(top, bottom)
        return (across[0], down[0], across[1], down[1]) if across and down else None

    def _axes(self, size: Size, resized: Size | None) -> tuple[Axis, Axis]:
        counts: tuple[float, float]
        if self.num_steps is not None:
            counts = (self.num_steps, self.num_steps)
        elif resized is not None:
            check_size(resized)
            counts = (resized[0] / self.num_pixels, resized[1] / self.num_pixels)
        else:
            raise ValueError(
                "resized is None; expected the width and height of the picture as the model meets "
                "it, since this convention counts its pixels"
            )
        return axes_of(size, counts, is_cell=self.is_cell, is_padded=self.is_padded)

    def _number(self, step: int) -> str:
        return format(step / 10**self.num_decimals if self.num_decimals else step, self.style)


@final
@dataclass(frozen=True, kw_only=True)
class PatchText(BoxText):
    """Two numbers, the first and the last of 32 x 32 cells that a box touches, row by row.

    Corners are read at the middle of their cells, but those of a box within one row or one column
    at the outer edges.

    Paper: Kosmos-2, arXiv 2306.14824, and its code for what is read.
    """

    layout: Layout
    """Where the numbers stand."""

    def write(
        self, boxes: Iterable[Sequence[float]], size: Size, resized: Size | None = None
    ) -> str:
        """Writes the cell below and right of the upper left corner, and that above the other."""
        x, y = axes_of(size, (_PATCHES, _PATCHES), is_cell=True)
        rows = []
        for box in boxes:
            left, top, right, bottom = _within(box, x, y)
            column, row = x.step(left), y.step(top)
            last_column = math.ceil(x.position(right)) - 1
            last_row = math.ceil(y.position(bottom)) - 1
            cells = (row * _PATCHES + column, last_row * _PATCHES + last_column)
            rows.append([f"{cell:04d}" for cell in cells])
        return self.layout.write(rows)

    def read(self, text: str, size: Size, resized: Size | None = None) -> ParsedBoxes:
        """Reads the two corners."""
        x, y = axes_of(size, (_PATCHES, _PATCHES), is_cell=True)
        return _parsed((piece, self._box(n, x, y)) for piece, n in self.layout.read(text))

    def _box(self, numbers: Sequence[str], x: Axis, y: Axis) -> Box | None:
        cells = [step_of(number, _PATCHES**2 - 1) for number in numbers]
        if not cells or cells[0] is None or cells[1] is None:
            return None
        (top, left), (bottom, right) = divmod(cells[0], _PATCHES), divmod(cells[1], _PATCHES)
        if left > right or top > bottom:
            return None
        inset = 0.0 if left == right or top == bottom else 0.5
        low, high = (left + inset, top + inset), (right + 1 - inset, bottom + 1 - inset)
        return (x.edge(low[0]), y.edge(low[1]), x.edge(high[0]), y.edge(high[1]))


def _parsed(pieces: Iterable[tuple[str, Box | None]]) -> ParsedBoxes:
    boxes: list[Box] = []
    unread: list[str] = []
    for piece, box in pieces:
        if box is None:
            unread.append(piece)
        else:
            boxes.append(box)
    return ParsedBoxes(boxes=tuple(boxes), unread=tuple(unread))


def _within(box: Sequence[float], x: Axis, y: Axis) -> Box:
    check_box(box)
    shown = intersection(box, (x.start, y.start, x.end, y.end))
    if shown is None:
        raise ValueError(
            f"the box {tuple(box)!r} lies outside of the picture, whose frame is "
            f"{(x.start, y.start, x.end, y.end)!r}; leave it out, or look whether the size is that "
            "of another picture"
        )
    return shown


def _loosely(text: str) -> str:
    """Returns the pattern of a text in which spaces do not matter."""
    return r"\s*".join(["", *map(re.escape, "".join(text.split())), ""])
