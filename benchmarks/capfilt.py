"""CapFilt on captions of which three in ten tell of another picture: what filtering them is worth.

`python -m benchmarks.capfilt --directory DIR --output FILE`

The arms learn the first stage of BLIP-2 from the same pictures in as many steps. `clean` has their
own captions, `unfiltered` the corrupted ones. `filtered` has what CapFilt makes of these with a
captioner that has learned from other pictures and their own captions, as that of BLIP did from
COCO: the two likeliest of each caption and ten candidates. With `--by-itself`, a fifth arm has the
unfiltered model as its captioner, so that nothing has seen a clean file. Measured is how often the
true one of 500 captions is first for its picture, and the true picture for its caption.

The command goes on where an earlier one stopped.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any, final

import tyro
from rich.console import Console

from benchmarks.blip2 import captions
from benchmarks.outcome import publish
from isthmus import load_alignment, recipes
from isthmus.cli._quiet import hush_libraries
from isthmus.data import sources
from isthmus.evaluation.capfilt import Settings, filter_captions
from isthmus.evaluation.judges import Similarity
from isthmus.study.execute import train_and_retrieve
from isthmus.study.run import Run, grid, run
from isthmus.study.table import tabulate
from isthmus.training.data import FileData, MicroworldData
from isthmus.training.resolve import microworld_files
from isthmus.training.stage import Recipe

CORRUPTED = 0.3
NUM, EPOCHS = 5000, 2
NUM_TEST, TOP = 500, 10
SETTINGS = Settings()
"""BLIP-2's."""
OTHERS = 1
"""Seed of the pictures that the captioner learns from."""
METRICS = ("recall_at_1", "recall_at_1_itc", "text_recall_at_1", "image_recall_at_1")


@final
@dataclass(frozen=True)
class Options:
    """Measure what filtering captions is worth."""

    directory: Path = Path("runs/capfilt")
    """Folder of the study: a folder for each run, and the filtered files."""
    output: Path | None = None
    """JSON file that gets the numbers, too."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """With which each arm is trained."""
    by_itself: bool = False
    """Let each unfiltered model filter its own file, too: a quarter of an hour for each."""


def main(options: Options) -> None:
    """Does what is left of the study, and makes its table."""
    hush_libraries()
    console = Console(highlight=False, soft_wrap=True)
    clean = MicroworldData(split="train", num=NUM, turns=1, tasks=("caption",))
    files = microworld_files(clean)
    corrupted = FileData(
        file=options.directory / "corrupted.jsonl", image_root=files.image_root, max_bad_share=0.0
    )
    write_corrupted(files.file, corrupted.file)
    samples, file = captions(NUM_TEST)
    execute = train_and_retrieve(samples, file=file, top=TOP)
    arms = {"unfiltered": learning_from(corrupted), "clean": learning_from(clean)}
    before = grid(arms, options.seeds, options.directory)
    captioner = grid({"captioner": of_other_pictures()}, (0,), options.directory)
    run([*captioner, *before], execute, console=console)
    filtered = replace(corrupted, file=options.directory / "filtered.jsonl")
    kept = {"filtered": _filter(captioner[0], corrupted, filtered.file, console)}
    after = grid(
        {"filtered": learning_from(filtered, filtered=True)}, options.seeds, options.directory
    )
    run(after, execute, console=console)
    for each in (arm for arm in before if options.by_itself and arm.name == "unfiltered"):
        own = replace(corrupted, file=options.directory / f"by_itself-{each.recipe.seed}.jsonl")
        kept[own.file.stem] = _filter(each, corrupted, own.file, console)
        arms = {"by_itself": learning_from(own, filtered=True)}
        alone = grid(arms, (each.recipe.seed,), options.directory)
        run(alone, execute, console=console)
        after += alone
    finished = [*before, *after]
    table: dict[str, Any] = {
        metric: tabulate(finished, metric=metric, reference="unfiltered").by_recipe()
        for metric in METRICS
    }
    publish(
        {**table, "filtered_files": kept}, options.output, command="python -m benchmarks.capfilt"
    )


def learning_from(data: FileData | MicroworldData, *, filtered: bool = False) -> Recipe:
    """Returns the first stage of the microworld on some data.

    Args:
        data: captions.
        filtered: whether there are several for each picture, which are learned as often in all.
    """
    whole = recipes.resolve("microworld.blip2_alignment")
    (stage,) = whole.stages
    epochs = EPOCHS // SETTINGS.keep if filtered else EPOCHS
    stage = replace(stage, data=data, schedule=replace(stage.schedule, epochs=epochs))
    return replace(whole, stages=(stage,))


def of_other_pictures() -> Recipe:
    """Returns the first stage of the microworld on pictures that are in no arm."""
    whole = recipes.resolve("microworld.blip2_alignment")
    (stage,) = whole.stages
    assert isinstance(stage.data, MicroworldData)
    stage = replace(stage, data=replace(stage.data, seed=OTHERS))
    return replace(whole, stages=(stage,))


def write_corrupted(source: Path, target: Path) -> None:
    """Writes the rows of a file, some with the captions of one another.

    Args:
        source: JSON lines of one caption each.
        target: made anew each time, and each time the same.
    """
    rows = [json.loads(line) for line in source.read_text(encoding="utf-8").splitlines()]
    chosen = Random("corrupted/0").sample(range(len(rows)), round(CORRUPTED * len(rows)))
    told = [rows[index]["messages"] for index in chosen]
    for index, messages in zip(chosen, [*told[1:], *told[:1]], strict=True):
        rows[index] = {**rows[index], "messages": messages}
        rows[index]["meta"] = {**rows[index]["meta"], "corrupted": True}
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def _filter(model: Run, data: FileData, output: Path, console: Console) -> dict[str, int]:
    """Writes the file that a model filters; returns what stayed in it."""
    if not output.with_suffix(".provenance.json").exists():
        captioner = load_alignment(model.folder)
        filter_captions(
            list(sources.read(data.file, data.image_root)),
            output,
            captioner=captioner,
            judge=Similarity(*captioner),
            settings=SETTINGS,
            image_root=data.image_root.resolve(),
            console=console if console.is_terminal else None,
        )
    return census(data.file, output)


def census(corrupted: Path, filtered: Path) -> dict[str, int]:
    """Counts the captions of a filtered file: kept or written, where a true one was or a wrong one.

    Args:
        corrupted: what was filtered.
        filtered: what stayed.
    """
    wrong = {row["images"][0] for row in _rows(corrupted) if row["meta"].get("corrupted")}
    counts = dict.fromkeys(("true_kept", "true_written", "wrong_kept", "wrong_written"), 0)
    for row in _rows(filtered):
        was = "wrong" if row["images"][0] in wrong else "true"
        fate = "kept" if row["meta"]["capfilt"]["source"] == "original" else "written"
        counts[f"{was}_{fate}"] += 1
    return counts


def _rows(file: Path) -> Sequence[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


if __name__ == "__main__":
    main(tyro.cli(Options, prog="python -m benchmarks.capfilt"))
