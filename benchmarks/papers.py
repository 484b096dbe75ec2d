"""Five papers in the microworld: their systems side by side, and what they claim of their parts.

`python -m benchmarks.papers --directory DIR --output FILE`

Every twin goes through its paper's own stages, and learns to answer from the same questions in its
last one, which BLIP-2's and VAdapter's have beside those of their papers. The blind one reads the
same words and sees nothing; another does so for questions about clips. `--claims` adds the twins
that differ in one part from another, so that what the papers say of this part can be held against
what is found here.

A claim is confirmed where the 95 % interval over seeds lies on its side of 0, reversed where it
lies on the other, and else not shown. That something brings nothing is never confirmed: it is not
contradicted where the interval holds 0.

The command goes on where an earlier one stopped. Shards write into one folder, where the last of
them finds the runs of all. What the file has of twins that were trained elsewhere stays in it as
long as their recipes are what they were: a claim needs its two twins in one folder, not all of
them. BLIP-2's twins go on from a first stage, which is trained once for each seed.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

import tyro
from rich.console import Console

from benchmarks.outcome import publish
from benchmarks.papers_claims import BLIND, BLIND_CLIPS, FIRST, GROUPS, MAIN, VIDEO, known, twin
from benchmarks.papers_table import beside, held, shown, systems
from isthmus.cli._quiet import hush_libraries
from isthmus.evaluation import results
from isthmus.evaluation.benchmarks.microworld import Microworld
from isthmus.evaluation.runner import evaluate
from isthmus.microworld.towers.corpus import held_out_texts
from isthmus.modeling.loading import load
from isthmus.study.execute import train_and_evaluate
from isthmus.study.run import Run, Shard, grid, run
from isthmus.training.data import MicroworldData
from isthmus.training.loop import train
from isthmus.training.models import ModelConfig
from isthmus.training.resolve import microworld_files
from isthmus.training.stage import Recipe

NUM_TEST, NUM_CLIPS, NUM_TEXTS = 1000, 300, 64


@final
@dataclass(frozen=True)
class Options:
    """Hold the systems of five papers against each other, and against what the papers say."""

    directory: Path = Path("runs/papers")
    """Folder of the study: a folder for each run."""
    output: Path | None = None
    """JSON file that gets the numbers, too."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """With which each twin is trained."""
    twins: tuple[str, ...] = MAIN
    """Which to train beside the blind ones; a claim needs both of its own."""
    claims: bool = False
    """Train all of them, those of single parts, too."""
    shard: str = "1/1"
    """Which part of the runs to do here, as i/n."""


def main(options: Options) -> None:
    """Does what is left of the study, and makes its tables."""
    hush_libraries()
    names = known() if options.claims else options.twins
    runs = runs_of(names, options.seeds, options.directory)
    shard, console = Shard.parse(options.shard), Console(highlight=False, soft_wrap=True)
    run(runs, execute(), shard=shard, console=console)
    finished = [each for each in runs if each.finished]
    earlier = {}
    if options.output and options.output.is_file():
        earlier = json.loads(options.output.read_text("utf-8"))
    numbers = beside({"systems": systems(finished), "claims": held(finished)}, earlier)
    if not numbers["systems"]:
        console.print("There is no table before the blind twin is finished.")
        return
    console.print(shown(numbers["systems"]))
    for claim in numbers["claims"]:
        console.print(f"{claim['verdict']}: {claim['text']} ({claim['source']})")
    publish(numbers, options.output, command="python -m benchmarks.papers --claims")


def runs_of(names: Sequence[str], seeds: Sequence[int], directory: Path) -> list[Run]:
    """Returns the runs of twins, and of the blind ones; BLIP-2's start from those of their seed.

    Args:
        names: of twins.
        seeds: of each.
        directory: of the study.
    """
    twins = {name: twin(name) for name in dict.fromkeys((BLIND, BLIND_CLIPS, *names))}
    runs = []
    for seed in seeds:
        started = {
            name: replace(each, start=directory / FIRST / f"seed-{seed}") if each.start else each
            for name, each in twins.items()
        }
        runs += grid(started, (seed,), directory)
    return runs


def execute() -> Callable[[Recipe, Path], None]:
    """Returns what trains a twin and asks it: stills for all, clips for those that see them."""
    texts = held_out_texts(NUM_TEXTS)

    def one(recipe: Recipe, folder: Path) -> None:
        if recipe.start and not (recipe.start / "config.json").exists():
            first = replace(twin(FIRST), seed=recipe.seed)
            train(first, recipe.start, resume=True, console=Console(quiet=True))
        assert isinstance(recipe.model, ModelConfig)
        frames = recipe.model.clip_frames
        asked = MicroworldData(
            split="test", num=NUM_TEST, tasks=_asked_tasks(), still_frames=frames
        )
        train_and_evaluate(benchmark(asked), batch_size=64, texts=texts)(recipe, folder)
        if frames > 1:
            clips = MicroworldData(split="test", num=NUM_CLIPS, tasks=VIDEO, still_frames=frames)
            model, processor = load(folder)
            result = evaluate(
                model,
                processor,
                benchmark(clips),
                folder=str(folder),
                batch_size=64,
                blind=all(stage.blind for stage in recipe.stages),
            )
            results.write(result, folder / "clips")

    return one


def _asked_tasks() -> tuple[str, ...]:
    return tuple(task for tasks in GROUPS.values() for task in tasks)


def benchmark(asked: MicroworldData) -> Microworld:
    """Returns the questions to ask, beside the usual answers of training."""
    found = microworld_files(asked)
    usual = microworld_files(replace(asked, split="train", turns=1))
    return Microworld(found.file, found.image_root, train_file=usual.file)


if __name__ == "__main__":
    main(tyro.cli(Options, prog="python -m benchmarks.papers"))
