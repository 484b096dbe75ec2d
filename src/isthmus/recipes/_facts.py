"""What papers and published code say of a recipe: as data, with the source of each fact."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, final

import yaml

_FOLDER = Path(__file__).parent / "facts"
_UNVERIFIED = "unverified"


@final
@dataclass(frozen=True, slots=True)
class Fact:
    """Something that a recipe should have from its paper."""

    path: str
    """In the recipe, as `isthmus show` writes it; or what follows from it: `parameters.PART` and
    `visual_tokens` of the model, `stages.N.trained.PART` and `stages.N.resolution` in pixels."""
    value: Any
    source: str
    """Section or table of the paper, file of the code, or how it was found out."""

    @property
    def is_verified(self) -> bool:
        """Whether it can be relied on; nothing is held against the others."""
        return _UNVERIFIED not in self.source


def facts_of(name: str) -> list[Fact]:
    """Returns the facts of a recipe, those of its whole family first.

    Args:
        name: `family.name` of the recipe; of one without facts there are none.
    """
    family, _, own = name.partition(".")
    told = _told(family)
    return list(_lines([*told["all"], *told["recipes"].get(own, [])]))


@cache
def _told(family: str) -> dict[str, Any]:
    file = _FOLDER / f"{family}.yaml"
    return yaml.safe_load(file.read_text("utf-8")) if file.is_file() else {"all": [], "recipes": {}}


def _lines(told: list[Any]) -> Iterator[Fact]:
    """Yields the facts of a list, in which lists of facts may stand for what is in them."""
    for line in told:
        if isinstance(line[0], str):
            yield Fact(*line)
        else:
            yield from _lines(line)
