"""Recipes: one file per family, one function per recipe, each returning a frozen `Recipe`.

The folder is the registry: `prism.clip_7b` is the function `clip_7b` of `prism.py`. A family may be
a folder of files, too, as `microworld` is.
Names and one-line descriptions are read from the source text; only what is asked for is imported.
"""

import ast
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from isthmus import kinds

if TYPE_CHECKING:
    from isthmus.training.stage import Recipe

__all__ = ["descriptions", "names", "resolve"]


def descriptions() -> dict[str, str]:
    """Returns `family.name` -> the first line of the recipe's docstring, in the files' order."""
    return {
        f"{family}.{function}": line
        for family in kinds.names(__name__)
        for file in _files(family)
        for function, line in _functions(file)
    }


def names() -> list[str]:
    """Returns all recipes as `family.name`."""
    return list(descriptions())


def resolve(name: str) -> "Recipe":
    """Builds a recipe.

    Args:
        name: one of `names()`.

    Raises:
        ValueError: there is no such recipe; the message suggests the nearest name, and lists those
            of the family, or the families.
    """
    family, _, function = name.partition(".")
    if name not in (valid := names()):
        own = [each for each in valid if each.startswith(f"{family}.")]
        families = [f"{each}.*" for each in kinds.names(__name__)]
        raise ValueError(kinds.unknown(name, valid, what="recipe", listed=own or families))
    return getattr(kinds.load(__name__, family), function)()


@cache
def _functions(file: Path) -> list[tuple[str, str]]:
    """Returns the public functions of a file and the first lines of their docstrings."""
    return [
        (node.name, (ast.get_docstring(node) or "").partition("\n")[0])
        for node in ast.parse(file.read_text("utf-8")).body
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
    ]


def _files(family: str) -> list[Path]:
    folder = Path(__file__).parent
    own = sorted((folder / family).glob("[!_]*.py"))
    return own or [folder / f"{family}.py"]
