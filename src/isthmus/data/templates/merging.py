"""All that is asked about a picture, in one conversation.

Paper: Honeybee, arXiv 2312.06742, section 4 (multi-turn) and appendix E (de-duplication).
"""

import string
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any, Literal, final

from isthmus.data.facts import (
    Answered,
    Captioned,
    Chosen,
    Fact,
    Grounded,
    Item,
    Judged,
    Located,
    Pointed,
)

Deduplicate = Literal["no", "target", "normalised"]
"""Whether facts of the same target take turns: those whose target is the same string, or the same
but for case, punctuation and spaces."""

_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


@final
@dataclass(frozen=True, kw_only=True)
class Merged:
    """Facts about the same images; of those with one target, one is drawn at each access."""

    first: Item
    """Names the conversation, its images and its task."""
    groups: tuple[tuple[Fact, ...], ...] = field(repr=False)
    """Facts that take turns; a fact alone is told each time."""

    def drawn(self, chance: Random) -> Item:
        """Returns the item with one fact of each group."""
        facts = tuple(chance.choice(group) if len(group) > 1 else group[0] for group in self.groups)
        return replace(self.first, facts=facts)


def merged(items: Iterable[Item], *, turns: int, deduplicate: Deduplicate = "no") -> list[Merged]:
    """Returns all facts about the same images together, `turns` of them in each conversation.

    Groups stand in the order in which their images were first met. Nothing is left out: of facts
    with the same target one is drawn at each access, before the conversation is cut to its turns.

    Differs: Honeybee's released configurations de-duplicate GQA alone; here it is said for each
        data set. Facts of one target within a conversation of one turn stay apart, as there.

    Args:
        items: of one data set.
        turns: facts in a conversation at most; 1 keeps each fact by itself.
        deduplicate: which facts take turns.

    Raises:
        ValueError: `turns` is below 1.
    """
    if turns < 1:
        raise ValueError(f"turns is {turns}; expected 1 or more")
    together: dict[tuple[tuple[Path, ...], type[Fact]], list[Item]] = {}
    for item in items:
        # What shows no picture has nothing in common.
        key = item.images or (Path(item.id),)
        together.setdefault((key, type(item.facts[0])), []).append(item)
    return [
        Merged(first=_named(first, number), groups=tuple(cut))
        for same in together.values()
        for first, groups in [(same[0], _groups(same, turns, deduplicate))]
        for number, cut in enumerate(_cut(groups, turns), start=1)
    ]


def target(fact: Fact) -> Hashable:
    """Returns what a fact teaches to write."""
    match fact:
        case Captioned() | Grounded():
            return fact.text
        case Answered():
            return fact.answer
        case Chosen():
            return fact.choices[fact.index]
        case Judged():
            return fact.is_true
        case Located():
            return fact.box
        case Pointed():
            return fact.boxes[fact.index]


def _normalised(fact: Fact) -> Hashable:
    found = target(fact)
    if not isinstance(found, str):
        return found
    return " ".join(found.casefold().translate(_NO_PUNCTUATION).split())


_KEY: dict[str, Callable[[Fact], Hashable]] = {"target": target, "normalised": _normalised}


def _groups(items: Sequence[Item], turns: int, deduplicate: Deduplicate) -> list[tuple[Fact, ...]]:
    facts = [fact for item in items for fact in item.facts]
    if deduplicate == "no" or turns == 1:
        return [(fact,) for fact in facts]
    by_target: dict[Hashable, list[Fact]] = {}
    for fact in facts:
        by_target.setdefault(_KEY[deduplicate](fact), []).append(fact)
    return [tuple(same) for same in by_target.values()]


def _cut(groups: Sequence[Any], turns: int) -> Iterable[Sequence[Any]]:
    return (groups[start : start + turns] for start in range(0, len(groups), turns))


def _named(item: Item, number: int) -> Item:
    return item if number == 1 else replace(item, id=f"{item.id}#{number}")
