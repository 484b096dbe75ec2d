"""Filters of web data, as data: each looks at columns of a row, and a row passes all or is counted.

A column that a filter names and a row lacks is an error, for a filter that looks at nothing would
pass everything. A null passes no filter: nobody knows that it is good enough.
"""

import math
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, final

from isthmus.config import Config

Row = Mapping[str, Any]
Test = Callable[[Row], bool]


def column(row: Row, name: str) -> Any:
    """Returns what a row holds in a column.

    Raises:
        ValueError: it has no such column.
    """
    if name not in row:
        raise ValueError(
            f"a row has no column {name!r}; it has {', '.join(map(str, row))}. Name the column "
            "that holds it, or leave out what asks for it"
        )
    return row[name]


@dataclass(frozen=True, kw_only=True)
class Filter(Config, ABC):
    """Decides on a row, by itself or by the rows before it."""

    @property
    @abstractmethod
    def reason(self) -> str:
        """What a row that does not pass is counted under."""

    @abstractmethod
    def begun(self) -> Test:
        """Returns a test to be asked of rows in their order; it has seen none yet."""


@final
@dataclass(frozen=True, kw_only=True)
class Within(Filter):
    """A number, such as a similarity or a score, lies within bounds that are included."""

    column: str
    least: float | None = None
    most: float | None = None

    def __post_init__(self) -> None:
        """Checks the bounds.

        Raises:
            ValueError: there is none, or nothing lies between them.
        """
        if self.least is None and self.most is None:
            raise ValueError(f"{self.column}: no bound; give the least, the most or both")
        if None not in (self.least, self.most) and self.least > self.most:  # type: ignore[operator]
            raise ValueError(f"{self.column}: the least, {self.least}, is over {self.most}")

    @property
    def reason(self) -> str:
        """The column."""
        return self.column

    def begun(self) -> Test:
        """Compares the number."""
        least = -math.inf if self.least is None else self.least
        most = math.inf if self.most is None else self.most

        def passes(row: Row) -> bool:
            number = _number(row, self.column)
            return number is not None and least <= number <= most

        return passes


@final
@dataclass(frozen=True, kw_only=True)
class OneOf(Filter):
    """A mark, such as LAION's NSFW, is one of some."""

    column: str
    values: tuple[str, ...]

    @property
    def reason(self) -> str:
        """The column."""
        return self.column

    def begun(self) -> Test:
        """Looks the mark up."""
        return lambda row: column(row, self.column) in self.values


@final
@dataclass(frozen=True, kw_only=True)
class Side(Filter):
    """The shorter side of the picture is long enough."""

    least: int
    """Units: pixels."""
    width: str = "width"
    height: str = "height"

    @property
    def reason(self) -> str:
        """Always `side`."""
        return "side"

    def begun(self) -> Test:
        """Compares the shorter side."""

        def passes(row: Row) -> bool:
            sides = _number(row, self.width), _number(row, self.height)
            return all(side is not None and side >= self.least for side in sides)

        return passes


@final
@dataclass(frozen=True, kw_only=True)
class Aspect(Filter):
    """The longer side of the picture is not too many times the shorter one."""

    most: float
    width: str = "width"
    height: str = "height"

    @property
    def reason(self) -> str:
        """Always `aspect`."""
        return "aspect"

    def begun(self) -> Test:
        """Compares the sides."""

        def passes(row: Row) -> bool:
            width, height = _number(row, self.width), _number(row, self.height)
            if not width or not height:
                return False
            return max(width, height) <= self.most * min(width, height)

        return passes


@final
@dataclass(frozen=True, kw_only=True)
class Words(Filter):
    """The text has a number of words, as spaces part them, within bounds that are included."""

    column: str
    least: int = 1
    most: int | None = None

    @property
    def reason(self) -> str:
        """Always `words`."""
        return "words"

    def begun(self) -> Test:
        """Counts the words."""
        most = math.inf if self.most is None else self.most

        def passes(row: Row) -> bool:
            text = _text(row, self.column)
            return text is not None and self.least <= len(text.split()) <= most

        return passes


@final
@dataclass(frozen=True, kw_only=True)
class FirstOfText(Filter):
    """No row that passed all filters before this one has the same text, but for case and spaces.

    It remembers 16 bytes, with what Python needs for them, of each different text.
    """

    column: str

    @property
    def reason(self) -> str:
        """Always `duplicate`."""
        return "duplicate"

    def begun(self) -> Test:
        """Remembers the texts."""
        seen: set[bytes] = set()

        def passes(row: Row) -> bool:
            text = _text(row, self.column)
            if text is None:
                return False
            words = " ".join(text.casefold().split()).encode(errors="surrogatepass")
            name, before = sha256(words).digest()[:16], len(seen)
            seen.add(name)
            return len(seen) > before

        return passes


AnyFilter = Within | OneOf | Side | Aspect | Words | FirstOfText

COYO: tuple[AnyFilter, ...] = (
    Within(column="clip_similarity_vitb32", least=0.3),
    Side(least=200),
    Aspect(most=6),
    Words(column="text", least=3, most=256),
    Within(column="watermark_score", most=0.5),
    Within(column="nsfw_score_opennsfw2", most=0.5),
    FirstOfText(column="text"),
)
"""For tables with the columns of COYO-700M. The similarity is Honeybee's (arXiv 2312.06742), the
aspect ratio CogVLM's (unverified); the others are a beginning, to be set for what is wanted."""

LAION: tuple[AnyFilter, ...] = (
    Within(column="similarity", least=0.3),
    Side(least=200, width="WIDTH", height="HEIGHT"),
    Aspect(most=6, width="WIDTH", height="HEIGHT"),
    Words(column="TEXT", least=3, most=256),
    OneOf(column="NSFW", values=("UNLIKELY",)),
    FirstOfText(column="TEXT"),
)
"""For tables with the columns of LAION-400M (unverified), whose least similarity it is."""


@final
class Sieve:
    """Some filters at work: hands on the rows that pass, and counts the others."""

    def __init__(self, filters: Sequence[AnyFilter]):
        """Takes the filters in the order in which they are asked; the first that objects counts.

        Raises:
            ValueError: two of them count under one reason.
        """
        reasons = [each.reason for each in filters]
        if twice := [reason for reason, times in Counter(reasons).items() if times > 1]:
            raise ValueError(f"two filters count under {twice[0]!r}; make one of them, or drop one")
        self._tests = [(each.reason, each.begun()) for each in filters]
        self.seen = 0
        """Rows so far."""
        self.filtered = dict.fromkeys(reasons, 0)
        """Rows so far that did not pass, by filter; with those handed on they are all."""

    def passing(self, rows: Iterable[Row]) -> Iterator[tuple[int, Row]]:
        """Yields the rows that pass all filters, each with its number from 1.

        Raises:
            ValueError: a row lacks a column, or holds another type there.
        """
        for row in rows:
            self.seen += 1
            reason = next((reason for reason, passes in self._tests if not passes(row)), None)
            if reason is None:
                yield self.seen, row
            else:
                self.filtered[reason] += 1


def _number(row: Row, name: str) -> float | None:
    value = column(row, name)
    if value is None:
        return None
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"the column {name!r} holds {value!r:.80}; expected a number") from error


def _text(row: Row, name: str) -> str | None:
    value = column(row, name)
    if value is None or isinstance(value, str):
        return value
    raise ValueError(f"the column {name!r} holds {value!r:.80}; expected a text")
