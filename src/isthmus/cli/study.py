"""Train recipes with several seeds each, and compare them in one table."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, final

import tyro

from isthmus.cli._console import plain

if TYPE_CHECKING:
    from isthmus.evaluation.benchmark import Benchmark
    from isthmus.training.stage import Recipe


@final
@dataclass(frozen=True)
class Options:
    """Train recipes with several seeds each, and compare them in one table.

    The same command goes on where an earlier one stopped: finished runs are kept. On several
    machines that share a folder, give each its --shard; the last to finish writes the whole table.
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
    """Which score to compare; the benchmark's headline when left out."""
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
    batch_size: int = 64
    """Answers written at once."""


def main(arguments: Sequence[str]) -> None:
    """Runs the command."""
    options = tyro.cli(Options, args=arguments, prog="isthmus study")
    from isthmus.cli._quiet import hush_libraries
    from isthmus.study import table
    from isthmus.study.execute import train_and_evaluate
    from isthmus.study.run import Shard, grid, run

    shard = Shard.parse(options.shard)
    recipes = _recipes(options)
    reference = options.reference or next(iter(recipes))
    if reference not in recipes:
        raise ValueError(f"the reference {reference!r} is not compared; known are {list(recipes)}")
    benchmark = _benchmark(options)
    hush_libraries()
    console = plain()
    runs = grid(recipes, options.seeds, options.output)
    execute = train_and_evaluate(benchmark, batch_size=options.batch_size, console=console)
    run(runs, execute, shard=shard, console=console)
    missing = [each for each in runs if not each.finished]
    if any(each.name == reference and each.finished for each in runs):
        metric = options.metric or benchmark.headline
        found = table.tabulate(runs, metric=metric, reference=reference)
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


def _benchmark(options: Options) -> "Benchmark":
    from isthmus.evaluation.benchmarks.conversation_file import ConversationFile
    from isthmus.evaluation.benchmarks.microworld import Microworld
    from isthmus.training.resolve import microworld_files
    from isthmus.training.stage import MicroworldData

    if options.test_data is not None:
        return ConversationFile(options.test_data, options.image_root or options.test_data.parent)
    asked = microworld_files(MicroworldData(split=options.split, num=options.num_test))
    return Microworld(asked.file, asked.image_root)
