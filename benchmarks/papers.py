"""Five papers in the microworld: their systems side by side, and what they claim of their parts.

`python -m benchmarks.papers --directory DIR --output FILE`

Every twin learns to answer from the same questions, at its paper's own stages; the blind one reads
the same words and sees nothing. `--claims` adds the twins that differ in one part from another, so
that what the papers say of this part can be held against what is found here.

A claim is confirmed where the 95 % interval over seeds lies on its side of 0, reversed where it
lies on the other, and else not shown. That something brings nothing is never confirmed: it is not
contradicted where the interval holds 0.

The command goes on where an earlier one stopped. BLIP-2's twins go on from a first stage, which is
trained once for each seed.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from random import Random
from statistics import fmean
from typing import Any, final

import tyro
from rich.console import Console
from rich.table import Table

from benchmarks.outcome import publish
from benchmarks.papers_claims import CLAIMS, GROUPS, MAIN, SEEING, VIDEO, Claim
from isthmus import recipes
from isthmus.cli._quiet import hush_libraries
from isthmus.evaluation import results
from isthmus.evaluation.benchmarks.microworld import Microworld
from isthmus.evaluation.runner import evaluate
from isthmus.microworld.scene import MAX_THINGS
from isthmus.microworld.towers.corpus import Curriculum, documents
from isthmus.modeling.loading import load
from isthmus.study.execute import train_and_evaluate
from isthmus.study.run import Run, Shard, grid, run
from isthmus.study.table import Line, tabulate
from isthmus.training.log import read_log
from isthmus.training.loop import train
from isthmus.training.models import ModelConfig
from isthmus.training.resolve import microworld_files
from isthmus.training.run_folder import read_description
from isthmus.training.stage import MicroworldData, Recipe

NUM_TEST, NUM_CLIPS, NUM_TEXTS = 1000, 300, 64
BLIND, FIRST = "blind", "blip2_alignment"
NEARLY = 0.98
"""Share of the final validation score at which a model has all but learned."""


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
    claims: bool = False
    """Train the twins of single parts, too."""
    shard: str = "1/1"
    """Which part of the runs to do here, as i/n."""


def main(options: Options) -> None:
    """Does what is left of the study, and makes its tables."""
    hush_libraries()
    names = list(MAIN)
    if options.claims:
        names += [n for c in CLAIMS for n in (c.better, c.worse)]
    runs = runs_of(list(dict.fromkeys(names)), options.seeds, options.directory)
    shard, console = Shard.parse(options.shard), Console(highlight=False, soft_wrap=True)
    run(runs, execute(), shard=shard, console=console)
    finished = [each for each in runs if each.finished]
    table, claims = systems(finished), held(finished)
    console.print(_shown(table))
    for claim in claims:
        console.print(f"{claim['verdict']}: {claim['text']} ({claim['source']})")
    publish(
        {"systems": table, "claims": claims}, options.output, command="python -m benchmarks.papers"
    )


def runs_of(names: Sequence[str], seeds: Sequence[int], directory: Path) -> list[Run]:
    """Returns the runs of twins, and of the blind one; BLIP-2's start from those of their seed.

    Args:
        names: of twins.
        seeds: of each.
        directory: of the study.
    """
    twins = {name: recipes.resolve(f"microworld.{name}") for name in names}
    twins[BLIND] = recipes.resolve("microworld.prismatic").blind()
    runs = []
    for seed in seeds:
        started = {
            name: replace(twin, start=directory / FIRST / f"seed-{seed}") if twin.start else twin
            for name, twin in twins.items()
        }
        runs += grid(started, (seed,), directory)
    return runs


def execute() -> Callable[[Recipe, Path], None]:
    """Returns what trains a twin and asks it: stills for all, clips for those that see them."""
    texts = list(held_out_texts(NUM_TEXTS))

    def one(recipe: Recipe, folder: Path) -> None:
        if recipe.start and not (recipe.start / "config.json").exists():
            first = replace(recipes.resolve(f"microworld.{FIRST}"), seed=recipe.seed)
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
            result = evaluate(model, processor, benchmark(clips), folder=str(folder), batch_size=64)
            results.write(result, folder / "clips")

    return one


def held_out_texts(num: int) -> list[str]:
    """Returns documents of the kind that the language models learned from, drawn anew."""
    everything = Curriculum(level=MAX_THINGS)
    stream = documents(Random("papers/held-out"), everything, chat=False, turns=4)
    return ["".join(document.pieces) for document in islice(stream, num)]


def _asked_tasks() -> tuple[str, ...]:
    return tuple(task for tasks in GROUPS.values() for task in tasks)


def benchmark(asked: MicroworldData) -> Microworld:
    """Returns the questions to ask, beside the usual answers of training."""
    found = microworld_files(asked)
    usual = microworld_files(replace(asked, split="train", turns=1))
    return Microworld(found.file, found.image_root, train_file=usual.file)


def systems(runs: Sequence[Run]) -> dict[str, dict[str, Any]]:
    """Returns the line of each twin that is finished: scores by group, cost, and convergence."""
    if not any(each.name == BLIND for each in runs):
        return {}
    columns = {"overall": SEEING, **GROUPS}
    by_column = {
        name: tabulate(runs, metric="score", reference=BLIND, tasks=tasks).lines
        for name, tasks in columns.items()
    }
    lines: dict[str, dict[str, Any]] = {}
    for column, found in by_column.items():
        for line in found:
            lines.setdefault(line.name, {})[column] = _cell(line)
    for name, told in lines.items():
        told.update(_facts([each for each in runs if each.name == name]))
    return lines


def _cell(line: Line) -> dict[str, Any]:
    return {
        "mean": line.mean,
        "over_seeds": line.over_seeds and asdict(line.over_seeds),
        "over_blind": line.difference and asdict(line.difference),
    }


def _facts(runs: Sequence[Run]) -> dict[str, Any]:
    """Returns what the folders of a twin's runs tell beside its scores."""
    told = [read_description(each.folder) for each in runs]
    found = [json.loads((each.folder / results.RESULTS_FILE).read_text("utf-8")) for each in runs]
    parts = told[0]["stages"][-1]["parts"]
    clips = [
        json.loads((each.folder / "clips" / results.RESULTS_FILE).read_text("utf-8"))
        for each in runs
        if (each.folder / "clips").is_dir()
    ]
    text = [each["text_ability"] for each in found if each["text_ability"]]
    return {
        "trainable": sum(part["trainable"] for part in parts),
        "visual_tokens": _visual_tokens(runs[0].recipe),
        "samples_per_second": fmean(each["result"]["samples_per_second"] for each in told),
        "train_seconds": fmean(each["result"]["train_seconds"] for each in told),
        "steps_to_nearly_all": _mean([steps_to_nearly_all(each.folder) for each in runs]),
        "video": [each["clip_accuracy"] for each in clips],
        "video_majority": [each["clip_accuracy_majority"] for each in clips],
        "text_identical": [each["is_identical"] for each in text],
        "perplexity_before": [each["perplexity_before"] for each in text],
        "perplexity": [each["perplexity"] for each in text],
        "text_before": [each.get("text_accuracy_before") for each in found],
    }


def _visual_tokens(recipe: Recipe) -> int:
    assert isinstance(recipe.model, ModelConfig)
    return recipe.model.connector.num_tokens((8, 8))


def steps_to_nearly_all(folder: Path) -> int | None:
    """Returns the steps of the last stage after which validation is 98 % of what it ends with."""
    lines = [line for line in read_log(folder) if "stage" in line]
    measured = [line for line in lines if "validation_token_accuracy" in line]
    if not measured:
        return None
    name = measured[-1]["stage"]
    stage = [line for line in measured if line["stage"] == name]
    enough = NEARLY * stage[-1]["validation_token_accuracy"]
    start = max((line["step"] for line in lines if line["stage"] != name), default=0)
    reached = next(line for line in stage if line["validation_token_accuracy"] >= enough)
    return reached["step"] - start


def _mean(values: Sequence[int | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def held(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Returns each claim whose twins are finished, with the difference that was found."""
    names = {each.name for each in runs}
    return [_held(claim, runs) for claim in CLAIMS if {claim.better, claim.worse} <= names]


def _held(claim: Claim, runs: Sequence[Run]) -> dict[str, Any]:
    pair = [each for each in runs if each.name in (claim.better, claim.worse)]
    table = tabulate(pair, metric="score", reference=claim.worse, tasks=claim.tasks)
    (found,) = (line.difference for line in table.lines if line.name == claim.better)
    assert found is not None
    interval = found.over_seeds
    return {
        **asdict(claim),
        "difference": asdict(found),
        "verdict": verdict(claim, None if interval is None else (interval.low, interval.high)),
    }


def verdict(claim: Claim, interval: tuple[float, float] | None) -> str:
    """Returns what an interval of the difference says of a claim.

    Args:
        claim: that the first twin is better, or that it is no better.
        interval: of the first less the second; None with too few seeds.
    """
    if interval is None:
        return "not shown"
    low, high = interval
    if claim.says == "no better":
        return "reversed" if low > 0 else "not contradicted"
    return "confirmed" if low > 0 else "reversed" if high < 0 else "not shown"


def _shown(table: Mapping[str, Mapping[str, Any]]) -> Table:
    shown = Table(title="right answers, %; over the blind twin in all that needs eyes")
    columns = ["overall", *GROUPS]
    for name in ("twin", *columns, "over blind", "video", "trainable", "tokens", "98 % after"):
        shown.add_column(name, justify="left" if name == "twin" else "right")
    for name, line in table.items():
        over = line["overall"]["over_blind"]
        shown.add_row(
            name,
            *(f"{100 * line[column]['mean']:.1f}" for column in columns),
            f"{100 * over['value']:+.1f}" if over else "",
            f"{100 * fmean(line['video']):.1f}" if line["video"] else "",
            f"{line['trainable']:,}",
            str(line["visual_tokens"]),
            str(round(line["steps_to_nearly_all"] or 0)),
        )
    return shown


if __name__ == "__main__":
    main(tyro.cli(Options, prog="python -m benchmarks.papers"))
