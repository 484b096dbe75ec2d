"""A recipe takes its name and its line from the function that returns it."""

from collections.abc import Callable
from pathlib import Path

from isthmus.training.models import ModelConfig
from isthmus.training.stage import Recipe, Stage


def named(
    function: Callable[[], Recipe],
    *stages: Stage,
    model: ModelConfig,
    start: Path | None = None,
    seed: int = 0,
) -> Recipe:
    """Returns the recipe of a function.

    Args:
        function: of a family's file; the first line of its docstring is the description.
        stages: stretches of training, in order.
        model: which towers are joined, and by what.
        start: folder of a trained model to go on from.
        seed: source of every chance.
    """
    family = function.__module__.removeprefix(f"{__package__}.").partition(".")[0]
    return Recipe(
        name=f"{family}.{function.__name__}",
        description=(function.__doc__ or "").partition("\n")[0],
        model=model,
        stages=stages,
        start=start,
        seed=seed,
    )
