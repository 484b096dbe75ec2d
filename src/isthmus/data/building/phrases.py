"""The noun phrases of a caption, which are what a detector is asked for."""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, final

from isthmus.config import digest_of
from isthmus.data.building import vocabulary

MAX_WORDS = 8
"""A longer run of words is a list of keywords or the name of an article, not a phrase."""

_WORD = re.compile(r"[^\W_]+(?:['\u2019\-][^\W_]+)*")
_Kind = Literal["stop", "opener", "modifier", "noun"]


@final
@dataclass(frozen=True, slots=True, order=True)
class Span:
    """A stretch of a caption. Units: characters; the end is outside."""

    start: int
    end: int

    def of(self, caption: str) -> str:
        """Returns the words of the stretch."""
        return caption[self.start : self.end]


class NounPhrases(ABC):
    """Finds what a caption names."""

    @property
    @abstractmethod
    def identity(self) -> dict[str, str]:
        """What decides the phrases, so that two ways are not mixed in one file."""

    @abstractmethod
    def spans(self, caption: str) -> list[Span]:
        """Returns the noun phrases of a caption in any order; they may overlap."""


@final
class ClosedClassPhrases(NounPhrases):
    """Cuts an English caption into noun phrases by words of grammar; it needs no download.

    A phrase is a run of determiners, modifiers and nouns that ends in a noun. Words of grammar
    and punctuation end it, and so do a determiner and a word in -ing behind a noun. A word is what
    the lists of `vocabulary` say it is, else by its ending (-ing, -ed, -ly), else a noun.

    Limits: it knows English alone. It does not know verbs that its lists lack, and takes them for
    nouns ("a dog barks" is one phrase); nor nouns in -ing, -ed and -ly that its lists lack ("a
    street parking meter" gives "a street" and "meter"). Names and keywords that follow one another
    without a comma are one phrase. Nothing is joined across "of", "and" or a relative clause.
    """

    @property
    def identity(self) -> dict[str, str]:
        """The kind, and the digest of the words."""
        lists = {name: sorted(words) for name, words in vars(vocabulary).items() if name.isupper()}
        return {"by": "closed classes", "words": digest_of([MAX_WORDS, lists])}

    def spans(self, caption: str) -> list[Span]:
        """Returns the noun phrases in the order of the caption; none overlaps another."""
        return [span for run in _runs(caption) if (span := _phrase(run))]


def _runs(caption: str) -> Iterator[list[tuple[str, Span, _Kind]]]:
    """Yields the runs of words between stops: each word in small letters, its place and kind."""
    run: list[tuple[str, Span, _Kind]] = []
    end = 0
    for match in _WORD.finditer(caption):
        if not caption[end : match.start()].isspace():
            yield run
            run = []
        word, end = match.group().casefold().replace("\u2019", "'"), match.end()
        kind = _kind(word, follows_noun=any(kind == "noun" for _, _, kind in run))
        reopens = kind == "opener" and any(kind != "opener" for _, _, kind in run)
        if kind == "stop" or reopens:
            yield run
            run = []
        if kind != "stop":
            run.append((word, Span(match.start(), end), kind))
    yield run


def _phrase(run: list[tuple[str, Span, _Kind]]) -> Span | None:
    """Returns the part of a run that ends in a noun, where that names something."""
    for length in range(len(run), 0, -1):
        word, last, kind = run[length - 1]
        if kind == "noun" or (word in vocabulary.HEADS and length > 1):
            names_something = length <= MAX_WORDS and word not in vocabulary.PLACELESS
            return Span(run[0][1].start, last.end) if names_something else None
    return None


def _kind(word: str, *, follows_noun: bool) -> _Kind:
    stem, mark, ending = word.partition("'")
    if mark:
        names_owner = ending == "s" and stem not in vocabulary.STOPS | vocabulary.OPENERS
        return "modifier" if names_owner else "stop"
    if word in vocabulary.STOPS:
        return "stop"
    if word in vocabulary.OPENERS:
        return "opener"
    if word in vocabulary.MODIFIERS or word.isdigit():
        return "modifier"
    if _ends(word, "ing", vocabulary.NOUNS_IN_ING):
        return "stop" if follows_noun else "modifier"
    if _ends(word, "ly", vocabulary.NOUNS_IN_LY):
        return "modifier"
    if _ends(word, "ed", vocabulary.NOUNS_IN_ED) and not word.endswith("eed"):
        return "modifier"
    return "noun"


def _ends(word: str, suffix: str, nouns: frozenset[str]) -> bool:
    """Tells whether a word was made by a suffix; shorter ones merely end so (bed, fly, king)."""
    return word.endswith(suffix) and len(word) > len(suffix) + 2 and word not in nouns
