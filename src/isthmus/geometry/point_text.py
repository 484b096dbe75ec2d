"""Points as text, in the tags of Molmo: `<point x="61.5" y="40.4">`, percent of the picture.

Several stand in one tag: `<points x1="61.5" y1="40.4" x2="9.0" y2="80.1">`. The words that a point
stands for, an `alt` and the closing tag belong to the text around it. Unverified but for examples
in published code; the later Molmo 2 writes another tag.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import final

from isthmus.geometry.steps import axes_of, step_of
from isthmus.geometry.view import Size

_STEPS = (1000, 1000)
"""Tenths of a percent."""
_PAIR = re.compile(r'x(\d*)\s*=\s*"([\d.]+)"\s+y\1\s*=\s*"([\d.]+)"(?!.*\by\d*\s*=)', re.DOTALL)


@final
@dataclass(frozen=True, kw_only=True)
class ParsedPoints:
    """What was read from a text, and what looked like points but could not be read."""

    points: tuple[tuple[float, float], ...]
    """From the left and from the top, in the order of the text. Units: pixels of the picture."""
    unread: tuple[str, ...]
    """Pieces of the text that open a point but do not hold two percentages."""


def write_points(points: Iterable[Sequence[float]], size: Size) -> str:
    """Writes points, given in pixels of a picture of `size` (width, height).

    Raises:
        ValueError: there is no point, one lies outside of the picture, or that has no area.
    """
    x, y = axes_of(size, _STEPS)
    written: list[tuple[str, str]] = []
    for across, down in points:
        if not (0 <= across <= x.end and 0 <= down <= y.end):
            raise ValueError(
                f"the point {(across, down)!r} lies outside of the picture of {size!r}; leave it "
                "out, or look whether the size is that of another picture"
            )
        written.append((f"{x.step(across) / 10:.1f}", f"{y.step(down) / 10:.1f}"))
    if not written:
        raise ValueError("no point to write; expected at least one, or leave the tag out")
    if len(written) == 1:
        return f'<point x="{written[0][0]}" y="{written[0][1]}">'
    pairs = (f'x{n}="{across}" y{n}="{down}"' for n, (across, down) in enumerate(written, start=1))
    return f"<points {' '.join(pairs)}>"


def read_points(text: str, size: Size) -> ParsedPoints:
    """Reads every point of a text, in pixels of a picture of `size`, and raises at no text.

    Raises:
        ValueError: the picture has no area.
    """
    x, y = axes_of(size, _STEPS)
    points: list[tuple[float, float]] = []
    unread: list[str] = []
    for tag in re.finditer(r"<points?\b([^<>]*)", text):
        before, *pieces = re.split(r"\s(?=x\d*\s*=)", tag[1])
        for piece in pieces or [before]:
            match = _PAIR.match(piece)
            across = step_of(match[2], x.largest, 1) if match else None
            down = step_of(match[3], y.largest, 1) if match else None
            if across is None or down is None:
                unread.append(piece.strip())
            else:
                points.append((x.edge(across), y.edge(down)))
    return ParsedPoints(points=tuple(points), unread=tuple(unread))
