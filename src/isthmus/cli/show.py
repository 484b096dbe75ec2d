"""List all recipes, or print a resolved one."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, final

import tyro

from isthmus import recipes
from isthmus.cli._console import plain


@final
@dataclass(frozen=True)
class Options:
    """List all recipes, or print a resolved one."""

    recipe: Annotated[str | None, tyro.conf.Positional] = None
    """Name of a recipe, a recipe.json, or a folder that holds one; without it, all are listed."""


def main(arguments: Sequence[str]) -> None:
    """Runs the command."""
    options = tyro.cli(Options, args=arguments, prog="isthmus show")
    console = plain()
    if options.recipe is None:
        for name, description in recipes.descriptions().items():
            console.print(f"{name}  {description}")
        return
    from isthmus.cli._recipe import find, flatten
    from isthmus.recipes._facts import facts_of

    recipe = find(options.recipe)
    console.print(f"{recipe.name}  {recipe.description}")
    console.print(f"digest {recipe.digest()}\n")
    for path, value in flatten(recipe.to_dict()).items():
        if path not in ("name", "description"):
            console.print(f"{path} = {value}")
    if facts := facts_of(recipe.name):
        console.print("\nfrom the paper and its code:")
        for fact in facts:
            console.print(f"{fact.path} = {json.dumps(fact.value)}  ({fact.source})")
    console.print(f"\nisthmus train {options.recipe} --output DIR --PATH VALUE overrides a line.")
