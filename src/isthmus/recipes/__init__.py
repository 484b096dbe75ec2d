"""Recipes: one file per family, one function per recipe, each returning a frozen `Recipe`.

The folder is the registry: `microworld.quickstart` is the function `quickstart` of `microworld.py`.
Names and one-line descriptions are read from the source text; only what is asked for is imported.
"""

import ast
from pathlib import Path
from typing import TYPE_CHECKING

from isthmus import kinds

if TYPE_CHECKING:
    from isthmus.training.stage import Recipe

__all__ = ["descriptions", "names", "resolve"]


def descriptions() -> dict[str, str]:
    """Returns `family.name` -> the first line of the recipe's docstring, in the files' order."""
    return {
        f"{family}.{node.name}": (ast.get_docstring(node) or "").partition("\n")[0]
        for family in kinds.names(__name__)
        for node in ast.parse(_source(family)).body
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
    }


def names() -> list[str]:
    """Returns all recipes as `family.name`."""
    return list(descriptions())


def resolve(name: str) -> "Recipe":
    """Builds a recipe.

    Args:
        name: one of `names()`.

    Raises:
        ValueError: there is no such recipe; the message suggests the nearest name.
    """
    if name not in (valid := names()):
        raise ValueError(kinds.unknown(name, valid, what="recipe"))
    family, _, function = name.partition(".")
    return getattr(kinds.load(__name__, family), function)()


def _source(family: str) -> str:
    return (Path(__file__).parent / f"{family}.py").read_text(encoding="utf-8")
