"""Train recipes with several seeds each, and compare them in one table."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, final

import tyro

from isthmus.cli._console import plain

if TYPE_CHECKING:
    from rich.console import Console

    from isthmus.study.run import Execute
    from isthmus.training.data import FileData
    from isthmus.training.stage import Recipe


@final
@dataclass(frozen=True)
class Options:
    """Train recipes with several seeds each, and compare them in one table.

    The same command goes on where an earlier one stopped: finished runs are kept. On several
    machines that share a folder, give each its --shard; the last to finish writes the whole table.

    Recipes of models that hold images and texts together are measured by retrieval: each image has
    to find its caption among all, and each caption its image.
    """

    recipes: Annotated[tuple[str, ...], tyro.conf.Positional]
    """What to compare: names of recipes, recipe.json files, or folders that hold one."""
    output: Path
    """Folder of the study: a folder for each run, table.json and table.md."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """With which each recipe is trained."""
    shard: str = "1/1"
    """Which part of the runs to do here, as i/n."""
    reference: str | None = None
    """The recipe that the others are compared with; the first when left out."""
    metric: str | None = None
    """Which score to compare; the benchmark's headline when left out (exact_match, vqa_accuracy, or
    recall_at_1 of retrieval)."""
    data: Path | None = None
    """Your LLaVA JSON or messages JSONL, in place of the recipes' data."""
    test_data: Path | None = None
    """Your file to be measured by, in place of microworld scenes."""
    image_root: Path | None = None
    """Folder that the image paths of both files start from; each file's own when left out."""
    split: Literal["val", "test", "compositional"] = "test"
    """Which microworld scenes to be measured by."""
    num_test: int = 1000
    """How many of them."""
    top: int | None = None
    """Candidates of each image and each text that are matched again in retrieval, 128 when left
    out; 0 compares by similarity alone."""
    batch_size: int = 64
    """Answers written at once; images or texts that are looked at."""


def main(arguments: Sequence[str]) -> None:
    """Runs the command."""
    options = tyro.cli(Options, args=arguments, prog="isthmus study")
    from isthmus.cli._quiet import hush_libraries
    from isthmus.evaluation.settings import check_counts
    from isthmus.study import table
    from isthmus.study.run import Shard, grid, run

    check_counts(1, num_test=options.num_test, batch_size=options.batch_size)
    check_counts(0, top=options.top)
    shard = Shard.parse(options.shard)
    recipes = _recipes(options)
    reference = options.reference or next(iter(recipes))
    if reference not in recipes:
        raise ValueError(f"the reference {reference!r} is not compared; known are {list(recipes)}")
    hush_libraries()
    console = plain()
    runs = grid(recipes, options.seeds, options.output)
    execute, headline = (_retrieving if _holds_pairs(recipes) else _answering)(options, console)
    run(runs, execute, shard=shard, console=console)
    missing = [each for each in runs if not each.finished]
    if any(each.name == reference and each.finished for each in runs):
        found = table.tabulate(runs, metric=options.metric or headline, reference=reference)
        table.write(found, options.output)
        console.print(table.rich_table(found))
    if missing:
        console.print(f"{len(missing)} of {len(runs)} runs are left to other shards.")


def _recipes(options: Options) -> "dict[str, Recipe]":
    from isthmus.cli._recipe import find, with_files

    found: dict[str, Recipe] = {}
    for text in options.recipes:
        # The root may be that of the test file alone.
        root = options.image_root if options.data else None
        recipe = with_files(find(text), options.data, root)
        if recipe.name in found:
            raise ValueError(f"two recipes are called {recipe.name!r}; give one another name")
        found[recipe.name] = recipe
    return found


def _holds_pairs(recipes: "dict[str, Recipe]") -> bool:
    """Returns whether the models hold images and texts together, where others answer.

    Raises:
        ValueError: some do, and some do not.
    """
    from isthmus.training.models import AlignmentConfig

    held = [name for name, each in recipes.items() if isinstance(each.model, AlignmentConfig)]
    if held and len(held) < len(recipes):
        others = ", ".join(name for name in recipes if name not in held)
        raise ValueError(
            f"{', '.join(held)} is measured by retrieval, and {others} by answers, which no table "
            "compares; give each kind a study of its own"
        )
    return bool(held)


def _answering(options: Options, console: "Console") -> "tuple[Execute, str]":
    """Returns what trains models that answer and measures them, and the name of the main score."""
    from isthmus.evaluation.benchmarks.conversation_file import ConversationFile
    from isthmus.evaluation.benchmarks.microworld import Microworld
    from isthmus.evaluation.settings import check_unused
    from isthmus.study.execute import train_and_evaluate

    check_unused(options, ["top"], "these recipes are measured by answers, not by retrieval")
    found = _test_file(options)
    kind = Microworld if options.test_data is None else ConversationFile
    benchmark = kind(found.file, found.image_root)
    execute = train_and_evaluate(benchmark, batch_size=options.batch_size, console=console)
    return execute, benchmark.headline


def _retrieving(options: Options, console: "Console") -> "tuple[Execute, str]":
    """Returns the same of models that hold images and texts together."""
    from isthmus.data import sources
    from isthmus.evaluation.pairs_runner import HEADLINE, TOP
    from isthmus.study.execute import train_and_retrieve

    found = _test_file(options, turns=1, tasks=("caption",))
    execute = train_and_retrieve(
        list(sources.read(found.file, found.image_root)),
        file=found.file,
        top=TOP if options.top is None else options.top,
        batch_size=options.batch_size,
        console=console,
    )
    return execute, HEADLINE


def _test_file(options: Options, **asked: Any) -> "FileData":
    """Returns the user's file, or scenes of the microworld.

    Args:
        options: of the command.
        **asked: as of `MicroworldData`.
    """
    from isthmus.evaluation.settings import check_unused
    from isthmus.training.data import FileData, MicroworldData
    from isthmus.training.resolve import microworld_files

    if options.test_data is not None:
        check_unused(options, ["split", "num_test"], f"all of {options.test_data} is asked about")
        root = options.image_root or options.test_data.parent
        return FileData(file=options.test_data, image_root=root)
    return microworld_files(MicroworldData(split=options.split, num=options.num_test, **asked))
