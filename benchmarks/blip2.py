"""BLIP-2 in the microworld: what its first stage learns, and what it is worth to the second.

`python -m benchmarks.blip2 --study retrieval --directory DIR --output FILE`
`python -m benchmarks.blip2 --study generation --directory DIR --output FILE`

`retrieval` trains the first stage with all three objectives, and without captioning (table 6 of
BLIP-2, arXiv 2301.12597): how often the true one of 1,000 captions is first for its picture, and
the true picture for its caption, after the nearest were matched again, and before (`_itc`).

`generation` trains a frozen language model's Q-Former with the first stage and without it, at the
same budget of the second, in three lengths (the curves of figure 5 there). It starts from what
`retrieval` trained, so that comes first.

The commands go on where earlier ones stopped.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, final

import tyro
from rich.console import Console

from benchmarks.outcome import publish
from isthmus import recipes
from isthmus.cli._quiet import hush_libraries
from isthmus.data import sources
from isthmus.data.sample import Sample
from isthmus.evaluation.benchmarks.microworld import Microworld
from isthmus.objectives.alignment import Alignment
from isthmus.study.execute import train_and_evaluate, train_and_retrieve
from isthmus.study.run import Run, Shard, grid, run
from isthmus.study.table import tabulate
from isthmus.training.resolve import microworld_files
from isthmus.training.stage import MicroworldData, Recipe

NUM_TEST = 1000
"""Pictures to be found, each with a caption that no other has."""
TOP = 10
"""Candidates that are matched again."""
NUM_QUESTIONS = 500
LENGTHS = (300, 600, 1200)
"""Scenes of the second stage, with ten questions each."""
METRICS = {
    "retrieval": ("text_recall_at_1", "image_recall_at_1", "recall_at_1", "recall_at_1_itc"),
    "generation": ("vqa_accuracy",),
}


@final
@dataclass(frozen=True)
class Options:
    """Compare the parts of BLIP-2."""

    study: Literal["retrieval", "generation"]
    """What to compare."""
    directory: Path = Path("runs/blip2")
    """Folder of the study: a folder for each run."""
    output: Path | None = None
    """JSON file that gets the numbers, too."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """With which each arm is trained."""
    shard: str = "1/1"
    """Which part of the runs to do here, as i/n."""


def main(options: Options) -> None:
    """Does what is left of the study, and makes its table."""
    hush_libraries()
    is_retrieval = options.study == "retrieval"
    runs = _runs(options)
    if is_retrieval:
        samples, file = captions()
        execute = train_and_retrieve(samples, file=file, top=TOP)
    else:
        files = microworld_files(MicroworldData(split="test", num=NUM_QUESTIONS))
        execute = train_and_evaluate(Microworld(files.file, files.image_root), batch_size=64)
    console = Console(highlight=False, soft_wrap=True)
    run(runs, execute, shard=Shard.parse(options.shard), console=console)
    finished = [each for each in runs if each.finished]
    reference = runs[0].name
    table: dict[str, Any] = {
        metric: {
            line.name: asdict(line)
            for line in tabulate(finished, metric=metric, reference=reference).lines
        }
        for metric in METRICS[options.study]
    }
    publish(table, options.output, command=f"python -m benchmarks.blip2 --study {options.study}")


def _runs(options: Options) -> list[Run]:
    first = grid(dict(_retrieval()), options.seeds, options.directory / "retrieval")
    if options.study == "retrieval":
        return first
    aligned = {run.recipe.seed: run.folder for run in first if run.name == "all"}
    return [
        run
        for seed, folder in aligned.items()
        for run in grid(dict(_generation(folder)), (seed,), options.directory / "generation")
    ]


def captions(num: int = NUM_TEST) -> tuple[list[Sample], Path]:
    """Returns test pictures whose captions differ, and the file that they come from."""
    found = microworld_files(
        MicroworldData(split="test", num=num + num // 10, turns=1, tasks=("caption",))
    )
    distinct: dict[str, Sample] = {}
    for sample in sources.read(found.file, found.image_root):
        distinct.setdefault(sample.messages[-1].text, sample)
    return list(distinct.values())[:num], found.file


def _retrieval() -> Iterator[tuple[str, Recipe]]:
    whole = recipes.resolve("microworld.blip2_alignment")
    yield "all", whole
    stage = whole.stages[0]
    (objective,) = stage.objectives
    assert isinstance(objective, Alignment.Config)
    without = replace(stage, objectives=(replace(objective, captioning=None),))
    yield "without_captioning", replace(whole, stages=(without,))


def _generation(aligned: Path) -> Iterator[tuple[str, Recipe]]:
    whole = recipes.resolve("microworld.blip2_causal")
    _, second = whole.stages
    for num in LENGTHS:
        data = second.data
        assert isinstance(data, MicroworldData)
        short = replace(second, data=replace(data, num=num))
        yield f"without_{num}", replace(whole, stages=(replace(short, hand_over=None),))
        yield f"with_{num}", replace(whole, stages=(short,), start=aligned)


if __name__ == "__main__":
    main(tyro.cli(Options, prog="python -m benchmarks.blip2"))
