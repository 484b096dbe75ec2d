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
    first = twins(options, before)
    return compared(went_on(options, first, what, asked), metrics)


def twins(options: Options, names: Sequence[str]) -> list[Run]:
    """Does what is left of twins of the papers, and returns them, each seed of one after the other.

    Args:
        options: where, and with which seeds.
        names: of the twins.
    """
    hush_libraries()
    known = {name: recipes.resolve(f"microworld.{name}") for name in names}
    runs = grid(known, options.seeds, options.directory)
    run(runs, papers.execute(), console=_console())
    return runs


def went_on(options: Options, before: Sequence[Run], what: str, asked: MicroworldData) -> list[Run]:
    """Does what is left of the runs that go on from others, and returns them.

    Args:
        options: where.
        before: finished runs.
        what: they learn.
        asked: questions.
    """
    arms = [arm for each in before for arm in after(each, what, options.directory)]
    run(arms, train_and_evaluate(papers.benchmark(asked), batch_size=64), console=_console())
    return arms


def compared(arms: Sequence[Run], metrics: Sequence[str]) -> dict[str, Any]:
    """Returns the table of runs that went on, held against the first of them that is blind.

    Args:
        arms: finished runs.
        metrics: of their answers.
    """
    reference = next(arm.name for arm in arms if is_blind(arm))
    return {
        metric: tabulate(arms, metric=metric, reference=reference).by_recipe() for metric in metrics
    }


def is_blind(one: Run) -> bool:
    """Returns whether a run learned without pictures."""
    return one.recipe.stages[-1].blind


def _console() -> Console:
    return Console(highlight=False, soft_wrap=True)


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
