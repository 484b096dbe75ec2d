"""What papers and published code say of a recipe: as data, with the source of each fact."""

from dataclasses import dataclass
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
    """In the recipe, as `isthmus show` writes it; or `parameters.PART` or `visual_tokens`."""
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
    file = _FOLDER / f"{family}.yaml"
    if not file.is_file():
        return []
    told = yaml.safe_load(file.read_text("utf-8"))
    return [Fact(*line) for line in (*told["all"], *told["recipes"].get(own, ()))]
