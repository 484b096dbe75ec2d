"""Boxes as text and as numbers: `[[x0,y0,x1,y1]]` in cells of the picture, several joined by `;`.

A coordinate is written as the cell of the picture that holds it, zero-filled to a fixed number of
digits: percent (`digits=2`, 00 to 99) or per mille (`digits=3`, 000 to 999). Reading gives the
centre of the cell, so that writing what was read gives the same text again.
"""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import final

Box = tuple[float, float, float, float]
"""Left, top, right, bottom; origin in the upper left corner of the picture."""

_GROUP = re.compile(r"(\[{1,2})([^\[\]]*)(\]{0,2})")
_CELL = re.compile(r"\s*(\d+)\s*")


@final
@dataclass(frozen=True, kw_only=True)
class ParsedBoxes:
    """What was read from a text, and what looked like a box but could not be read."""

    boxes: tuple[Box, ...]
    """The boxes in the order of the text. Units: those of the picture size handed to the parser."""

    unread: tuple[str, ...]
    """Pieces of the text that open a box but do not hold four ordered coordinates."""


def format_box(box: Sequence[float], size: tuple[float, float], digits: int = 2) -> str:
    """Writes one box, given in pixels of a picture of `size` (width, height).

    Paper: CogVLM, arXiv 2311.03079, section 2.3 (per mille, `digits=3`).

    Raises:
        ValueError: the box or the picture has no area, or the digits are neither 2 nor 3.
    """
    return format_boxes([box], size, digits)


def format_boxes(
    boxes: Iterable[Sequence[float]], size: tuple[float, float], digits: int = 2
) -> str:
    """Writes several boxes into one pair of double brackets, joined by `;`."""
    groups = [",".join(_cells(box, size, digits)) for box in boxes]
    if not groups:
        raise ValueError("no box to write; expected at least one, or leave the brackets out")
    return "[[" + ";".join(groups) + "]]"


def parse_boxes(text: str, size: tuple[float, float] = (1.0, 1.0), digits: int = 2) -> ParsedBoxes:
    """Reads every box of a text; what cannot be read is reported, never guessed.

    Spaces, single brackets and missing leading zeros are tolerated. A number with more than
    `digits` digits, a piece with other than four numbers, corners in the wrong order and the last
    piece of brackets that never close are unread.

    Differs: CogVLM's own parser reads the lower edge of the cell and drops unreadable pieces
    silently; the centre halves the largest error, and dropped pieces would flatter a score.
    """
    cells = _num_cells(digits)
    boxes: list[Box] = []
    unread: list[str] = []
    for opening, inner, closing in _GROUP.findall(text):
        if opening == "[" and not any(character.isdigit() for character in inner):
            continue  # plain brackets around words are prose, not a box
        pieces = inner.split(";")
        for position, piece in enumerate(pieces):
            is_cut = not closing and position == len(pieces) - 1
            box = None if is_cut else _read(piece, size, cells, digits)
            if box is None:
                unread.append(piece.strip())
            else:
                boxes.append(box)
    return ParsedBoxes(boxes=tuple(boxes), unread=tuple(unread))


def without_boxes(text: str) -> str:
    """Returns the words of a text: every bracketed group that holds a digit is taken out."""

    def keep(match: re.Match[str]) -> str:
        is_box = match.group(1) == "[[" or any(letter.isdigit() for letter in match.group(2))
        return " " if is_box else match.group(0)

    return re.sub(r"\s+([,.;:!?])", r"\1", " ".join(_GROUP.sub(keep, text).split()))


def iou(first: Sequence[float], second: Sequence[float]) -> float:
    """Returns intersection over union of two boxes in one frame, without the +1 pixel convention.

    Units: a share, 0 to 1; 0 where the union has no area.
    """
    common = intersection(first, second)
    shared = 0.0 if common is None else _area(common)
    union = _area(first) + _area(second) - shared
    return shared / union if union > 0 else 0.0


def intersection(first: Sequence[float], second: Sequence[float]) -> Box | None:
    """Returns what two boxes of one frame have in common; None where that has no area."""
    left, top = max(first[0], second[0]), max(first[1], second[1])
    right, bottom = min(first[2], second[2]), min(first[3], second[3])
    return (left, top, right, bottom) if left < right and top < bottom else None


def rescale(
    box: Sequence[float], size: tuple[float, float], to: tuple[float, float] = (1.0, 1.0)
) -> Box:
    """Returns a box of a picture of `size` (width, height) in a picture stretched to another size.

    Units: by default shares of width and height, 0 to 1, which is what `parse_boxes` reads too.
    """
    x0, y0, x1, y1 = box
    (width, height), (to_width, to_height) = size, to
    return (
        x0 / width * to_width,
        y0 / height * to_height,
        x1 / width * to_width,
        y1 / height * to_height,
    )


def check_box(box: Sequence[float]) -> None:
    """Checks that a box is four finite numbers and has an area.

    Raises:
        ValueError: it is not, or has none.
    """
    if len(box) != 4 or not all(math.isfinite(edge) for edge in box):
        raise ValueError(f"the box {tuple(box)!r} is not four finite numbers x0, y0, x1, y1")
    if not (box[0] < box[2] and box[1] < box[3]):
        raise ValueError(
            f"the box {tuple(box)!r} has no area; expected x0 < x1 and y0 < y1 (a box stored as "
            "x, y, width, height has to be converted first)"
        )


def _area(box: Sequence[float]) -> float:
    return max(box[2] - box[0], 0.0) * max(box[3] - box[1], 0.0)


def _num_cells(digits: int) -> int:
    if digits not in (2, 3):
        raise ValueError(f"digits is {digits!r}; expected 2 (percent) or 3 (per mille)")
    return 10**digits


def _cells(box: Sequence[float], size: tuple[float, float], digits: int) -> list[str]:
    width, height = size
    if not (width > 0 and height > 0):
        raise ValueError(f"the picture size {size!r} has no area; expected (width, height)")
    check_box(box)
    cells = _num_cells(digits)
    extents = (width, height, width, height)
    return [
        f"{min(max(math.floor(edge * cells / extent), 0), cells - 1):0{digits}d}"
        for edge, extent in zip(box, extents, strict=True)
    ]


def _read(piece: str, size: tuple[float, float], cells: int, digits: int) -> Box | None:
    matches = [_CELL.fullmatch(number) for number in piece.split(",")]
    numbers = [match.group(1) for match in matches if match]
    if len(matches) != 4 or len(numbers) != 4 or any(len(number) > digits for number in numbers):
        return None
    x0, y0, x1, y1 = (int(number) for number in numbers)
    if x0 > x1 or y0 > y1:
        return None
    left, right = _span(x0, x1, cells, size[0])
    top, bottom = _span(y0, y1, cells, size[1])
    return (left, top, right, bottom)


def _span(first: int, last: int, cells: int, extent: float) -> tuple[float, float]:
    """Returns the two edges; inside one cell its middle half, so that no box loses its area."""
    inset = 0.25 if first == last else 0.5
    return (first + inset) / cells * extent, (last + 1 - inset) / cells * extent
