"""BLIP-2 in the microworld: what its first stage learns, and what it is worth to the second.

`python -m benchmarks.blip2 --study STUDY --directory DIR --output FILE`, in this order:

`retrieval` trains the first stage with all three objectives, and without captioning (table 6 of
BLIP-2, arXiv 2301.12597): how often the true one of 1,000 captions is first for its picture, and
the true picture for its caption, after the nearest were matched again, and before (`_itc`).

`generation` trains the Q-Former before a frozen language model from what `retrieval` trained and
from nothing, at the same budget, in three lengths (the curves of figure 5 there). It learns from
captions; questions are answered without having been learned.

`languages` has the longest of these before a causal model and before one that reads with an
encoder, each beside its blind self.

`descendants` has what InstructBLIP and MiniGPT-4 make of the first stage, each beside its blind
self.

`tuning` goes on from the causal one: tower, Q-Former and low-rank updates learn to answer, or tower
and Q-Former to write captions.

The commands go on where earlier ones stopped.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, final

import tyro
from rich.console import Console

from benchmarks.outcome import publish
from isthmus import recipes
from isthmus.cli._quiet import hush_libraries
from isthmus.data import sources
from isthmus.data.sample import Sample
from isthmus.evaluation.benchmarks.microworld import Microworld
from isthmus.objectives.alignment import Alignment
from isthmus.recipes import _blip2
from isthmus.study.execute import train_and_evaluate, train_and_retrieve
from isthmus.study.run import Execute, Run, Shard, grid, run
from isthmus.study.table import StudyTable, markdown, tabulate
from isthmus.training.data import MicroworldData
from isthmus.training.resolve import microworld_files
from isthmus.training.stage import Recipe

Study = Literal["retrieval", "generation", "languages", "descendants", "tuning"]
Arms = Mapping[str, Recipe]

NUM_TEST = 1000
"""Pictures to be found, each with a caption that no other has."""
TOP = 10
"""Candidates that are matched again."""
NUM_QUESTIONS = 1600
TASKS = ("colour", "shape", "count", "existence", "relation", "position", "caption")
"""What is asked in the test."""
LENGTHS = (1500, 3000, 6000)
"""Captions that the second stage learns from."""
RETRIEVAL_METRICS = ("text_recall_at_1", "image_recall_at_1", "recall_at_1", "recall_at_1_itc")


@final
@dataclass(frozen=True)
class Options:
    """Compare the parts of BLIP-2."""

    study: Study
    """What to compare."""
    directory: Path = Path("runs/blip2")
    """Folder of the studies: a folder for each run."""
    output: Path | None = None
    """JSON file that gets the numbers, too."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """With which each arm is trained."""
    shard: str = "1/1"
    """Which part of the runs to do here, as i/n."""


def main(options: Options) -> None:
    """Does what is left of the study, and makes its tables."""
    hush_libraries()
    runs = runs_of(options.study, options.seeds, options.directory)
    console = Console(highlight=False, soft_wrap=True)
    run(runs, _execute(options.study), shard=Shard.parse(options.shard), console=console)
    tables = list(_tables(options.study, [each for each in runs if each.finished]))
    for table in tables:
        print(markdown(table))
    publish(
        {"tables": [table.to_dict() for table in tables]},
        options.output,
        command=f"python -m benchmarks.blip2 --study {options.study}",
    )


def runs_of(study: Study, seeds: Sequence[int], directory: Path) -> list[Run]:
    """Returns the runs of a study; those of a seed start from that seed's runs of earlier ones."""
    runs: list[Run] = []
    for seed in seeds:
        first = grid(retrieval(), (seed,), directory / "retrieval")
        second = grid(generation(_folder(first, "all")), (seed,), directory / "generation")
        arms: dict[Study, Arms] = {
            "retrieval": retrieval(),
            "generation": generation(_folder(first, "all")),
            "languages": languages(_folder(first, "all")),
            "descendants": descendants(_folder(first, "all")),
            "tuning": tuning(_folder(second, f"with_{LENGTHS[-1]}")),
        }
        runs += grid(arms[study], (seed,), directory / study)
    return runs


def _folder(runs: Sequence[Run], name: str) -> Path:
    return next(run.folder for run in runs if run.name == name)


def _execute(study: Study) -> Execute:
    if study == "retrieval":
        samples, file = captions()
        return train_and_retrieve(samples, file=file, top=TOP)
    found = microworld_files(MicroworldData(split="test", num=NUM_QUESTIONS, tasks=TASKS))
    usual = microworld_files(MicroworldData(split="train", num=NUM_QUESTIONS, tasks=TASKS))
    benchmark = Microworld(found.file, found.image_root, train_file=usual.file)
    return train_and_evaluate(benchmark, batch_size=64)


def _tables(study: Study, runs: Sequence[Run]) -> Iterator[StudyTable]:
    """Yields what a study is made for: each arm beside what it is held against."""
    if study == "retrieval":
        for metric in RETRIEVAL_METRICS:
            yield tabulate(runs, metric=metric, reference="all")
        return
    pairs = {
        "generation": [
            *((f"without_{num}", f"with_{num}") for num in LENGTHS),
            ("blind", f"with_{LENGTHS[-1]}"),
        ],
        "languages": [("blind_causal", "causal"), ("blind_t5", "t5"), ("causal", "t5")],
        "descendants": [("blind_instruct", "instruct"), ("blind_minigpt4", "minigpt4")],
        "tuning": [("before", "vqa"), ("before", "captions")],
    }
    for reference, name in pairs[study]:
        held = [each for each in runs if each.name in (reference, name)]
        for metric in ("caption_facts", "vqa_accuracy"):
            yield tabulate(held, metric=metric, reference=reference)


def captions(num: int = NUM_TEST) -> tuple[list[Sample], Path]:
    """Returns test pictures whose captions differ, and the file that they come from."""
    found = microworld_files(
        MicroworldData(split="test", num=num + num // 10, turns=1, tasks=("caption",))
    )
    distinct: dict[str, Sample] = {}
    for sample in sources.read(found.file, found.image_root):
        distinct.setdefault(sample.messages[-1].text, sample)
    return list(distinct.values())[:num], found.file


def retrieval() -> Arms:
    """The first stage, and the same without captioning."""
    whole = recipes.resolve("microworld.blip2_alignment")
    (stage,) = whole.stages
    (objective,) = stage.objectives
    assert isinstance(objective, Alignment.Config)
    without = replace(stage, objectives=(replace(objective, captioning=None),))
    return {"all": whole, "without_captioning": replace(whole, stages=(without,))}


def generation(aligned: Path) -> Arms:
    """The second stage from a first one and from nothing, in three lengths, and without pictures.

    Args:
        aligned: folder of the first stage's model.
    """
    arms = {"blind": _second("microworld.blip2_causal").blind()}
    for num in LENGTHS:
        fresh = _second("microworld.blip2_causal", num=num)
        arms[f"without_{num}"] = fresh
        arms[f"with_{num}"] = _after(aligned, fresh)
    return arms


def languages(aligned: Path) -> Arms:
    """The second stage before two kinds of language model, each with its blind twin.

    Args:
        aligned: folder of the first stage's model.
    """
    arms: dict[str, Recipe] = {}
    for name in ("causal", "t5"):
        fresh = _second(f"microworld.blip2_{name}", num=LENGTHS[-1])
        arms[name] = _after(aligned, fresh)
        arms[f"blind_{name}"] = fresh.blind()
    return arms


def descendants(aligned: Path) -> Arms:
    """What later works put behind the first stage, each with its blind twin.

    Args:
        aligned: folder of the first stage's model.
    """
    arms: dict[str, Recipe] = {}
    for name in ("instruct", "minigpt4"):
        whole = recipes.resolve(f"microworld.blip2_{name}")
        (*_, last) = whole.stages
        arms[name] = replace(whole, stages=(last,), start=aligned)
        arms[f"blind_{name}"] = whole.blind()
    return arms


def tuning(pretrained: Path) -> Arms:
    """Fine-tuning for answers and for captions, and the model as it was.

    Args:
        pretrained: folder of the second stage's model.
    """
    tuned = {
        name: replace(recipes.resolve(f"microworld.blip2_{name}"), start=pretrained)
        for name in ("vqa", "captions")
    }
    (stage,) = tuned["vqa"].stages
    asleep = tuple(replace(part, lr=0.0) for part in stage.train)
    idle = replace(stage, train=asleep, schedule=replace(stage.schedule, epochs=None, steps=1))
    return {"before": replace(tuned["vqa"], stages=(idle,)), **tuned}


def _second(name: str, num: int = LENGTHS[-1]) -> Recipe:
    """Returns the second stage of a recipe alone, with a fresh Q-Former."""
    whole = recipes.resolve(name)
    _, second = whole.stages
    assert isinstance(second.data, MicroworldData)
    fresh = replace(second, data=replace(second.data, num=num), hand_over=None)
    return replace(whole, stages=(fresh,))


def _after(aligned: Path, fresh: Recipe) -> Recipe:
    """Returns the same with a Q-Former that has been through the first stage."""
    (stage,) = fresh.stages
    handed = replace(stage, hand_over=_blip2.QUERIES_ALONE)
    return replace(fresh, stages=(handed,), start=aligned)


if __name__ == "__main__":
    main(tyro.cli(Options, prog="python -m benchmarks.blip2"))
