"""Twins that go on from others of their seed, each once with pictures and once without.

The twins before them are those of `python -m benchmarks.papers`: what that has left in the same
folder is taken as it is. So is what an earlier call has finished.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, final

from rich.console import Console

from benchmarks import papers
from isthmus import recipes
from isthmus.cli._quiet import hush_libraries
from isthmus.study.execute import train_and_evaluate
from isthmus.study.run import Run, grid, run
from isthmus.study.table import tabulate
from isthmus.training.data import MicroworldData


@final
@dataclass(frozen=True)
class Options:
    """Measure twins that go on from those of the papers."""

    directory: Path = Path("runs/papers")
    """Folder of the study: a folder for each run."""
    output: Path | None = None
    """JSON file that gets the numbers, too."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """With which each is trained."""


def measured(
    options: Options,
    before: Sequence[str],
    what: str,
    asked: MicroworldData,
    metrics: Sequence[str],
) -> dict[str, Any]:
    """Does what is left of the study, and returns its table: metric -> arm -> numbers.

    Args:
        options: where, and with which seeds.
        before: twins; the blind arm of the first is what all are held against.
        what: they learn: the end of the names of the twins that go on.
        asked: questions.
        metrics: of their answers.
    """
    hush_libraries()
    console = Console(highlight=False, soft_wrap=True)
    twins = {name: recipes.resolve(f"microworld.{name}") for name in before}
    first = grid(twins, options.seeds, options.directory)
    run(first, papers.execute(), console=console)
    arms = [arm for each in first for arm in after(each, what, options.directory)]
    run(arms, train_and_evaluate(papers.benchmark(asked), batch_size=64), console=console)
    reference = f"{before[0]}_{what}_blind"
    return {
        metric: tabulate(arms, metric=metric, reference=reference).by_recipe() for metric in metrics
    }


def after(before: Run, what: str, directory: Path) -> list[Run]:
    """Returns the runs that go on from one: with pictures, and without.

    Args:
        before: of a twin that answers.
        what: is learned.
        directory: of the study.
    """
    arm = f"{before.name}_{what}"
    twin = recipes.resolve(f"microworld.{arm}")
    arms = {
        name: replace(each, start=before.folder)
        for name, each in ((arm, twin), (f"{arm}_blind", twin.blind()))
    }
    return grid(arms, (before.recipe.seed,), directory)
