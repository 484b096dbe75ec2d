"""Six questions about a recipe for data, asked in the microworld.

`python -m benchmarks.data_recipe --directory DIR --output FILE`

Honeybee (arXiv 2312.06742, tables 4 and 5) compares which data sets are learned from, their shares,
instructions with names in their place, templates of a data set with those of its task, one with
ten, of which some are inverted, and one fact with several in a conversation. Every arm here is a
mixture of the same ten files with as many draws; the paper's own choice is `all`. As there, all go
on from one model that has learned captions of other pictures; here the language model learned them,
too, since it had never read what a vision tower says.

An arm is asked in the words that it has learned, the first of ten where there are ten. Choices are
compared by their likelihood, so an arm that has learned no letters is wrong only if it does not
know. The paper's ten templates belong to data sets and were not released; ours belong to tasks, so
`ten` and `ten_inverted` are to be held against `coarse`.

The command goes on where an earlier one stopped.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from random import Random
from statistics import fmean
from typing import Any, final

import tyro
from rich.console import Console
from rich.table import Table

from benchmarks.data_sets import DATA_SETS, TEXT_TASKS, Facts, entries, write_all
from benchmarks.outcome import publish
from isthmus import recipes
from isthmus.cli._quiet import hush_libraries
from isthmus.config import digest_of
from isthmus.data import sources
from isthmus.data.facts import Chosen, Item, Located
from isthmus.data.mixture.balance import Balance
from isthmus.data.mixture.file import Asking, Mixture
from isthmus.data.sample import Sample
from isthmus.data.templates.instruct import Instructions
from isthmus.data.templates.template import template_set
from isthmus.evaluation.benchmarks.microworld import VQA_TASKS, Microworld
from isthmus.evaluation.compare import read_rows
from isthmus.evaluation.results import SAMPLES_FILE
from isthmus.geometry.box_text import convention
from isthmus.microworld.export import export
from isthmus.microworld.render import render
from isthmus.microworld.scene import scenes
from isthmus.microworld.tasks.choice import LETTERS
from isthmus.study.execute import train_and_evaluate
from isthmus.study.run import Run, Shard, grid, run
from isthmus.study.table import student_interval, tabulate
from isthmus.training.data import MicroworldData, MixtureData
from isthmus.training.stage import Recipe

DRAWS = 2000
"""Conversations that an arm learns from."""
BATCH_SIZE = 8
CAPTIONS, OTHERS = 8000, 1
"""Captions that all arms have learned before, and the seed of their pictures."""
CAP = 2000
"""Samples of a data set that count at most: between the small and the large, as in the paper."""
BOXES = "isthmus"
TURNS = {"turns": 10, "deduplicate": "target"}
NUM_TEST = 200
"""Pictures that each data set of facts is asked about."""
GROUPS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "open": ("vqa_accuracy", tuple(task for task in VQA_TASKS if task != "multiple_choice")),
    "choice": ("vqa_accuracy", ("multiple_choice",)),
    "regions": ("box_accuracy", ()),
    "captions": ("caption_facts", ()),
    "instructions": ("reading_accuracy", ()),
    "text": ("text_accuracy", ()),
}
"""Metric and tasks by which each group of data sets is measured."""
ONE_PER_TASK = ("gqa", "scienceqa", "refcoco", "coyo100m", "llava150k", "sharegpt")


@final
@dataclass(frozen=True)
class Options:
    """Compare recipes for data."""

    directory: Path = Path("runs/data_recipe")
    """Folder of the study: the data, and a folder for each run."""
    output: Path | None = None
    """JSON file that gets the numbers, too."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """With which each arm is trained."""
    shard: str = "1/1"
    """Which part of the runs to do here, as i/n; begin the others when the first has a model that
    has learned the captions."""


def main(options: Options) -> None:
    """Does what is left of the study, and makes its tables."""
    hush_libraries()
    directory = options.directory.absolute()
    write_all(directory / "data")
    mixtures = arms(directory / "data")
    (before,) = grid({"captions_alone": pretraining()}, (0,), directory)
    seeing = {
        name: learning_from(_written(name, mixture, directory), start=before.folder)
        for name, mixture in mixtures.items()
    }
    runs = grid({**seeing, "blind": seeing["all"].blind()}, options.seeds, directory)

    @cache
    def benchmark(name: str) -> Microworld:
        return asked_as(mixtures.get(name, mixtures["all"]), directory / "test")

    def execute(recipe: Recipe, folder: Path) -> None:
        train_and_evaluate(benchmark(folder.parent.name), batch_size=64)(recipe, folder)

    console = Console(highlight=False, soft_wrap=True)
    run([before], execute, console=console)
    run(runs, execute, shard=Shard.parse(options.shard), console=console)
    held = _comparisons([each for each in runs if each.finished])
    results = {reference: _compared(of, reference) for reference, of in held.items()}
    for reference, result in results.items():
        console.print(_drawn(result, reference))
    publish(results, options.output, command="python -m benchmarks.data_recipe")


def arms(data: Path) -> dict[str, Mixture]:
    """Returns the mixtures to compare, by the name of what each does otherwise than `all`.

    Args:
        data: folder in which the data sets were written; absolute, since mixtures lie elsewhere.
    """
    every = entries(data)
    several = [
        replace(entry, asking=dict(TURNS)) if entry.name in ("vqav2", "gqa") else entry
        for entry in every
    ]
    whole = Mixture(
        entries=tuple(several),
        balance=Balance(rule="tuned"),
        asking=Asking(boxes=BOXES, shuffle=True),
        samples=DRAWS,
    )

    def those(names: Sequence[str]) -> Mixture:
        return replace(whole, entries=tuple(e for e in several if e.name in names))

    def asking(**changes: Any) -> Mixture:
        return replace(whole, asking=replace(whole.asking, **changes))

    def turns(**changes: Any) -> Mixture:
        asked = [replace(e, asking={**e.asking, **changes}) if e.asking else e for e in several]
        return replace(whole, entries=tuple(asked))

    return {
        "all": whole,
        "one_per_task": those(ONE_PER_TASK),
        **{
            f"without_{group}": those([e.name for e in every if e.task != group])
            for group in GROUPS
        },
        "instructions_only": those(["llava150k", "sharegpt"]),
        "per_dataset": replace(whole, balance=Balance(rule="per_dataset")),
        "per_task": replace(whole, balance=Balance(rule="per_task")),
        "per_sample": replace(whole, balance=Balance(rule="per_sample", cap=CAP)),
        "named_by_dataset": asking(identifier="dataset"),
        "named_by_task": asking(identifier="task"),
        "coarse": asking(granularity="coarse"),
        "ten": asking(granularity="coarse", diversity="ten"),
        "ten_inverted": asking(granularity="coarse", diversity="ten_flipped"),
        "single_turn": replace(whole, entries=tuple(every)),
        "not_deduplicated": turns(deduplicate="no"),
    }


def pretraining() -> Recipe:
    """Returns the quick start on captions of pictures that are in no arm."""
    captions = MicroworldData(split="train", num=CAPTIONS, seed=OTHERS, turns=1, tasks=("caption",))
    return _quick_start(captions)


def learning_from(mixture: Path, *, start: Path) -> Recipe:
    """Returns what goes on from a model with a mixture.

    Args:
        mixture: file that describes it.
        start: folder of the model.
    """
    return replace(_quick_start(MixtureData(mixture=mixture, max_bad_share=0.0)), start=start)


def _quick_start(data: MicroworldData | MixtureData) -> Recipe:
    start = recipes.resolve("microworld.quickstart")
    (stage,) = start.stages
    stage = replace(
        stage,
        data=data,
        validation=None,
        schedule=replace(stage.schedule, batch_size=BATCH_SIZE),
        dtype="float32",
    )
    return replace(start, stages=(stage,))


def asked_as(mixture: Mixture, directory: Path) -> Microworld:
    """Returns test questions, in the words of a mixture; each time the same ones.

    Args:
        mixture: says how facts are asked.
        directory: gets the pictures.
    """
    samples = [sample for data in DATA_SETS for sample in _asked(data, mixture.asking, directory)]
    for name, tasks in (("signs", ("reading",)), ("text", TEXT_TASKS)):
        file = directory / name / "messages.jsonl"
        if not file.exists():
            export(file.parent, split="test", num=NUM_TEST, tasks=tasks)
        samples += sources.read(file, file.parent)
    return Microworld(file, directory, samples=samples)


def _asked(data: Facts, asking: Asking, directory: Path) -> Iterator[Sample]:
    """Yields one question about each picture that the data set has something to say of."""
    template = template_set(data.entry["template"])
    instructions = Instructions(
        name=data.name,
        template=replace(template, flipped=(), flipped_share=0.0),
        granularity=asking.granularity,
        identifier=asking.identifier,
        write_boxes=convention(asking.boxes).write,
    )
    directory.mkdir(parents=True, exist_ok=True)
    for number, (scene, _) in enumerate(scenes("test", NUM_TEST)):
        chance = Random(f"{data.name}/test/{number}")
        told = data.tell(scene, chance)
        if not told:
            continue
        picture = directory / f"{number}.png"
        if not picture.exists():
            render(scene).save(picture, compress_level=1)
        task, fact = chance.choice(told)
        item = Item(id=f"{data.name}-{number}", images=(picture,), facts=(fact,), task=data.task)
        boxes = [list(fact.box)] if isinstance(fact, Located) else []
        choices = LETTERS[: len(fact.choices)] if isinstance(fact, Chosen) else ()
        yield replace(
            instructions.sample(item, chance),
            task=task,
            meta={"boxes": boxes, "choices": choices},
        )


def _written(name: str, mixture: Mixture, directory: Path) -> Path:
    """Writes a mixture under a name that changes with it, since recipes know it by its name."""
    file = directory / "mixtures" / f"{name}-{digest_of(mixture.to_dict())[:8]}.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(mixture.to_dict(), indent=2), encoding="utf-8")
    return file


def _comparisons(finished: Sequence[Run]) -> dict[str, list[Run]]:
    """Returns what is held against what, as far as it is there."""
    held = {
        "all": [each for each in finished if each.name not in ("ten", "ten_inverted")],
        "coarse": [each for each in finished if each.name in ("coarse", "ten", "ten_inverted")],
    }
    return {name: of for name, of in held.items() if any(each.name == name for each in of)}


def _compared(held: Sequence[Run], reference: str) -> dict[str, Any]:
    """Returns a table for each group of data sets, and what is average over them."""
    tables = {
        name: asdict(tabulate(held, metric=metric, tasks=tasks, reference=reference))
        for name, (metric, tasks) in GROUPS.items()
    }
    return {**tables, "average": _averages(held, reference)}


def _averages(held: Sequence[Run], reference: str) -> dict[str, Any]:
    """Returns the mean over the groups by arm, and its difference on the same seeds."""
    found: dict[str, dict[int, float]] = {}
    for each in held:
        found.setdefault(each.name, {})[each.recipe.seed] = _average(each)
    usual = found[reference]
    return {
        name: {
            "mean": fmean(by_seed.values()),
            "difference": fmean(apart) if apart else None,
            "over_seeds": asdict(interval) if interval else None,
        }
        for name, by_seed in found.items()
        for apart in [[by_seed[seed] - usual[seed] for seed in by_seed if seed in usual]]
        for interval in [student_interval(apart)]
    }


def _average(of: Run) -> float:
    rows = read_rows(of.folder / SAMPLES_FILE).values()
    return fmean(
        fmean(
            row[metric]
            for row in rows
            if metric in row and row["task"] in (tasks or (row["task"],))
        )
        for metric, tasks in GROUPS.values()
    )


def _drawn(result: Mapping[str, Any], reference: str) -> Table:
    """Returns percent by arm and group, and what the average is above that of the reference."""
    table = Table(title=f"against {reference}")
    for heading in ("arm", *GROUPS, "average", "difference", "over seeds"):
        table.add_column(heading, justify="left" if heading == "arm" else "right")
    lines = {name: {line["name"]: line for line in result[name]["lines"]} for name in GROUPS}
    for arm, average in result["average"].items():
        interval = average["over_seeds"]
        table.add_row(
            arm,
            *(f"{100 * lines[name][arm]['mean']:.1f}" for name in GROUPS),
            f"{100 * average['mean']:.1f}",
            f"{100 * average['difference']:+.1f}" if average["difference"] is not None else "",
            f"{100 * interval['low']:+.1f} to {100 * interval['high']:+.1f}" if interval else "",
        )
    return table


if __name__ == "__main__":
    main(tyro.cli(Options, prog="python -m benchmarks.data_recipe"))
