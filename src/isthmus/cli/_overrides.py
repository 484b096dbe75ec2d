"""Every field of a recipe as a flag."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import tyro

if TYPE_CHECKING:
    from isthmus.training.stage import Recipe


def overridden(recipe: "Recipe", words: Sequence[str], *, prog: str) -> "Recipe":
    """Returns a recipe with some of its fields replaced.

    Args:
        recipe: as it is by its name.
        words: flags and their values, such as `--stages.0.schedule.epochs 3`.
        prog: the command, for its help.
    """
    return tyro.cli(
        type(recipe),
        args=words,
        default=recipe,
        prog=prog,
        # A recipe has one value per field; choosing among classes is what recipe.json is for.
        config=(tyro.conf.AvoidSubcommands,),
    )
