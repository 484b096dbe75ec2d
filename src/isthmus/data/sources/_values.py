"""Values of a row: found by name, checked, and put into the names of files."""

import math
import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from string import Formatter
from typing import Any, Literal

from isthmus.data.facts import Size
from isthmus.data.faults import Fault
from isthmus.data.sources.base import Row, expect
from isthmus.geometry.boxes import Box

BoxForm = Literal["xywh", "xyxy"]
"""Left, top, width and height; or left, top, right and bottom."""

_SUFFIX = "suffix"
_ZEROS = re.compile(r"0\d{1,2}d")


def value_at(row: Row, name: str) -> Any:
    """Returns the value of a field; None where there is none.

    Args:
        row: decoded.
        name: of the field. With dots it leads into objects; of a list of them it takes the value
            of each.
    """
    if name in row:
        return row[name]
    value: Any = row
    for key in name.split("."):
        if isinstance(value, list):
            value = [each.get(key) if isinstance(each, dict) else None for each in value]
        elif isinstance(value, Mapping):
            value = value.get(key)
        else:
            return None
    return value


def text(value: Any, what: str) -> str:
    """Returns a text, or a number as text.

    Raises:
        Fault: it is neither.
    """
    if isinstance(value, int | float) and not isinstance(value, bool) and _is_finite(value):
        return str(value)
    return expect(value, str, what)


def texts(value: Any, what: str) -> tuple[str, ...]:
    """Returns the texts of a list.

    Raises:
        Fault: it is no list of texts.
    """
    return tuple(text(each, f"one of {what}") for each in expect(value, list, what))


def number(value: Any, what: str) -> float:
    """Returns a number, or the one that a text spells.

    Raises:
        Fault: it is none, or not finite.
    """
    try:
        found = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        found = math.nan
    if not math.isfinite(found):
        raise Fault("wrong_layout", f"{what} is {value!r:.80}; expected a number")
    return found


def whole(value: Any, what: str) -> int:
    """Returns a whole number, or the one that a text spells.

    Raises:
        Fault: it is none.
    """
    found = number(value, what)
    if not found.is_integer():
        raise Fault("wrong_layout", f"{what} is {value!r:.80}; expected a whole number")
    return int(found)


def box(value: Any, what: str, form: BoxForm) -> Box:
    """Returns a box of four numbers as left, top, right and bottom.

    Raises:
        Fault: it is no list of four numbers. Whether it has an area is for `Item` to say.
    """
    edges = expect(value, list, what)
    if len(edges) != 4:
        raise Fault("wrong_box", f"{what} is {value!r:.80}; expected four numbers")
    x, y, right, bottom = (number(edge, f"an edge of {what}") for edge in edges)
    return (x, y, x + right, y + bottom) if form == "xywh" else (x, y, right, bottom)


def size(width: Any, height: Any) -> Size | None:
    """Returns the size of a picture, None where one side is not told.

    Raises:
        Fault: a side is no number above 0.
    """
    if width is None or height is None:
        return None
    sides = whole(width, "width"), whole(height, "height")
    if min(sides) < 1:
        raise Fault("wrong_layout", f"a picture has the size {sides}; expected sides above 0")
    return sides


def check_template(template: str) -> None:
    """Checks a name with fields in it, such as `{split}2017/{image_id:012d}.jpg`.

    Raises:
        ValueError: a brace is alone, a field has no name, or is to be written in a way not known.
    """
    try:
        fields = [piece[1:] for piece in Formatter().parse(template) if piece[1] is not None]
    except ValueError as error:
        raise ValueError(f"{template!r} is no name with fields in braces ({error})") from error
    for name, spec, conversion in fields:
        if not name or conversion or not (spec in ("", _SUFFIX) or _ZEROS.fullmatch(spec or "")):
            raise ValueError(
                f"{template!r} has a field that cannot be filled; expected {{name}}, "
                f"{{name:012d}} for a number with leading zeros, or {{name:{_SUFFIX}}} for the "
                "ending of a file's name"
            )


def filled(template: str, row: Row) -> str:
    """Returns a name with the values of a row in its fields.

    Args:
        template: see `check_template`.
        row: decoded.

    Raises:
        Fault: the row lacks a field, or its value is neither text nor number.
    """
    pieces: list[str] = []
    for literal, name, spec, _ in Formatter().parse(template):
        pieces.append(literal)
        if name is None:
            continue
        value = value_at(row, name)
        if spec == _SUFFIX:
            pieces.append(PurePosixPath(text(value, name)).suffix)
        elif spec:
            pieces.append(format(whole(value, name), spec))
        else:
            pieces.append(text(value, name))
    return "".join(pieces)


def _is_finite(value: float) -> bool:
    return isinstance(value, int) or math.isfinite(value)
