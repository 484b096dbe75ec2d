"""Print what differs between two recipes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, final

import tyro

from isthmus.cli._console import plain

NOTHING = "-"
"""Stands for the value on the side that has no such path."""


@final
@dataclass(frozen=True)
class Options:
    """Print what differs between two recipes."""

    first: Annotated[str, tyro.conf.Positional]
    """Name of a recipe, a recipe.json, or a folder that holds one."""
    second: Annotated[str, tyro.conf.Positional]
    """The same, of the recipe to compare with."""


def main(arguments: Sequence[str]) -> None:
    """Runs the command."""
    options = tyro.cli(Options, args=arguments, prog="isthmus diff")
    from isthmus.cli._recipe import find, flatten

    first, second = (flatten(find(each).to_dict()) for each in (options.first, options.second))
    console = plain()
    same = True
    for path in dict.fromkeys([*first, *second]):
        left, right = first.get(path, NOTHING), second.get(path, NOTHING)
        if left != right:
            same = False
            console.print(f"{path}: {left} -> {right}")
    if same:
        console.print("no difference")
