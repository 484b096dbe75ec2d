"""CapFilt on captions of which three in ten tell of another picture: what filtering them is worth.

`python -m benchmarks.capfilt --directory DIR --output FILE`

Three arms learn the first stage of BLIP-2 from the same pictures. `clean` has their own captions,
`unfiltered` the corrupted ones, and `filtered` what CapFilt makes of these: the unfiltered model
writes candidates and judges them beside the caption that is there, and the best one stays. Nothing
in that arm has seen a clean file. Measured is how often the true one of 500 captions is first for
its picture, and the true picture for its caption.

The command goes on where an earlier one stopped.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
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
from isthmus.evaluation.judges import Matching
from isthmus.study.execute import train_and_retrieve
from isthmus.study.run import Run, grid, run
from isthmus.study.table import tabulate
from isthmus.training.resolve import microworld_files
from isthmus.training.stage import FileData, MicroworldData, Recipe

CORRUPTED = 0.3
NUM, EPOCHS = 5000, 2
NUM_TEST, TOP = 500, 10
SETTINGS = Settings(candidates=4, keep=1)
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
    finished: list[Run] = []
    kept: list[dict[str, int]] = []
    for seed in options.seeds:
        before = grid(arms, (seed,), options.directory)
        run(before, execute, console=console)
        filtered = replace(corrupted, file=options.directory / f"filtered-{seed}.jsonl")
        kept.append(_filter(before[0], corrupted, filtered.file, console))
        after = grid({"filtered": learning_from(filtered)}, (seed,), options.directory)
        run(after, execute, console=console)
        finished += [*before, *after]
    table: dict[str, Any] = {
        metric: {
            line.name: asdict(line)
            for line in tabulate(finished, metric=metric, reference="unfiltered").lines
        }
        for metric in METRICS
    }
    publish(
        {**table, "filtered_files": kept}, options.output, command="python -m benchmarks.capfilt"
    )


def learning_from(data: FileData | MicroworldData) -> Recipe:
    """Returns the first stage of the microworld on some data."""
    whole = recipes.resolve("microworld.blip2_alignment")
    (stage,) = whole.stages
    stage = replace(stage, data=data, schedule=replace(stage.schedule, epochs=EPOCHS))
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


def _filter(unfiltered: Run, data: FileData, output: Path, console: Console) -> dict[str, int]:
    """Writes the filtered file; returns what stayed in it."""
    if not output.with_suffix(".provenance.json").exists():
        captioner = load_alignment(unfiltered.folder)
        filter_captions(
            list(sources.read(data.file, data.image_root)),
            output,
            captioner=captioner,
            judge=Matching(*captioner),
            settings=SETTINGS,
            image_root=data.image_root.resolve(),
            console=console if console.is_terminal else None,
        )
    return census(data.file, output)


def census(corrupted: Path, filtered: Path) -> dict[str, int]:
    """Counts the captions of a filtered file: kept or written, for a true caption or a wrong one.

    Args:
        corrupted: what was filtered.
        filtered: of one caption for each picture.
    """
    wrong = {row["images"][0] for row in _rows(corrupted) if row["meta"].get("corrupted")}
    counts = dict.fromkeys(("true_kept", "true_replaced", "wrong_kept", "wrong_replaced"), 0)
    for row in _rows(filtered):
        was = "wrong" if row["images"][0] in wrong else "true"
        fate = "kept" if row["meta"]["capfilt"]["source"] == "original" else "replaced"
        counts[f"{was}_{fate}"] += 1
    return counts


def _rows(file: Path) -> Sequence[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


if __name__ == "__main__":
    main(tyro.cli(Options, prog="python -m benchmarks.capfilt"))
