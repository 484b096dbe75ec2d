"""Three ways to bring a wide picture to the square that a tower takes.

`python -m benchmarks.resize --directory DIR --output FILE`

Prismatic VLMs (arXiv 2402.07865, section 4.2) finds pictures that are stretched no worse than those
that are padded, and their middle alone worse, above all at naming boxes. Pictures of the microworld
are squares, so these are strips of them, twice as wide as high: a strip holds all that is in its
scene. Boxes and corners are those of the strip itself, however it is resized.

The twin of Prismatic learns from them in each of the three ways, and once without pictures. The
command goes on where an earlier one stopped.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any, final

import tyro
from PIL.Image import Image
from rich.console import Console

from benchmarks.outcome import publish
from benchmarks.papers_claims import GROUPS, SEEING, twin
from isthmus.cli._quiet import hush_libraries
from isthmus.evaluation.benchmarks.microworld import Microworld
from isthmus.geometry.resize import ResizeStrategy
from isthmus.microworld.export import conversation
from isthmus.microworld.render import render
from isthmus.microworld.scene import CANVAS, Box, Scene, Split, draw_scene
from isthmus.microworld.tasks import distinct, questions
from isthmus.study.execute import train_and_evaluate
from isthmus.study.run import Run, Shard, grid, run
from isthmus.study.table import tabulate
from isthmus.training.data import FileData
from isthmus.training.models import ModelConfig
from isthmus.training.stage import Recipe

HEIGHT = CANVAS // 2
"""Of a strip, pixels; it is as wide as its scene."""
WAYS: tuple[ResizeStrategy, ...] = ("naive", "letterbox", "crop")
PADDED, BLIND = "letterbox", "blind"
NUM: dict[Split, int] = {"train": 1600, "val": 128, "test": 1000}
"""Strips of each split, as many as the twin's scenes."""
TURNS: dict[Split, int] = {"train": 10, "val": 1, "test": 1}
MOST = 3
"""Things in a strip: more seldom fit."""
TRIES = 1000
"""Questions that are drawn for a strip at most, of which some cannot be asked."""
COLUMNS = {"overall": SEEING, **{name: GROUPS[name] for name in ("spatial", "grounding")}}


@final
@dataclass(frozen=True)
class Options:
    """Compare ways to resize pictures that are no squares."""

    directory: Path = Path("runs/resize")
    """Folder of the study: the strips, and a folder for each run."""
    output: Path | None = None
    """JSON file that gets the numbers, too."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """With which each way is trained."""
    shard: str = "1/1"
    """Which part of the runs to do here, as i/n."""


def main(options: Options) -> None:
    """Does what is left of the study, and makes its table."""
    hush_libraries()
    # Recipes know their files by these paths, so that a study goes on from the same folder alone.
    directory = options.directory.absolute()
    runs = runs_of(options.seeds, directory)
    test, train = (strips(directory / "strips", split) for split in ("test", "train"))
    asked = Microworld(test.file, test.image_root, train_file=train.file)
    console = Console(highlight=False, soft_wrap=True)
    shard = Shard.parse(options.shard)
    run(runs, train_and_evaluate(asked, batch_size=64), shard=shard, console=console)
    finished = [each for each in runs if each.finished]
    if not any(each.name == PADDED for each in finished):
        console.print(f"There is no table before a run of {PADDED} is finished.")
        return
    publish(table(finished), options.output, command="python -m benchmarks.resize")


def runs_of(seeds: tuple[int, ...], directory: Path) -> list[Run]:
    """Returns the runs of each way, and of the blind; writes the strips that they learn from.

    Args:
        seeds: of each.
        directory: of the study.
    """
    train, validation = (strips(directory / "strips", split) for split in ("train", "val"))
    seeing: dict[str, Recipe] = {way: recipe(way, train, validation) for way in WAYS}
    return grid({**seeing, BLIND: seeing[PADDED].blind()}, seeds, directory)


def recipe(way: ResizeStrategy, train: FileData, validation: FileData) -> Recipe:
    """Returns the twin of Prismatic on strips that are resized in one way.

    Args:
        way: how.
        train: strips to learn from.
        validation: strips to be measured by on the way.
    """
    whole = twin("prismatic")
    (stage,) = whole.stages
    assert isinstance(whole.model, ModelConfig)
    return replace(
        whole,
        model=replace(whole.model, image_resize=way),
        stages=(replace(stage, data=train, validation=validation),),
    )


def table(finished: list[Run]) -> dict[str, Any]:
    """Returns right answers by column and way, and how far each is from padding."""
    return {
        column: tabulate(finished, metric="score", reference=PADDED, tasks=tasks).by_recipe()
        for column, tasks in COLUMNS.items()
    }


def strips(directory: Path, split: Split) -> FileData:
    """Returns strips of a split and what is asked of them; they are written unless they are there.

    Args:
        directory: gets a folder for each split.
        split: whose scenes are cut.
    """
    folder = directory / split
    told = FileData(file=folder / "messages.jsonl", image_root=folder, max_bad_share=0.0)
    if not told.file.exists():
        (folder / "images").mkdir(parents=True, exist_ok=True)
        rows = []
        for number, (scene, top, rng) in enumerate(strip_scenes(split, NUM[split])):
            image = f"images/{number}.png"
            picture(scene, top).save(folder / image, compress_level=1)
            rows.append(_row(f"{split}-{number}", image, asked_scene(scene, top), rng, split))
        # A file that is there is whole, though another shard may be writing it, too.
        partial = folder / f"messages.{os.getpid()}.partial"
        partial.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        partial.replace(told.file)
    return told


def strip_scenes(split: Split, num: int) -> Iterator[tuple[Scene, int, Random]]:
    """Yields scenes that fit into a strip, its upper edge in pixels, and a source of chance."""
    for number in range(num):
        rng = Random(f"strips/{split}/{number}")
        things, room = rng.randint(1, MOST), None
        while room is None:
            scene = draw_scene(split, rng, things)
            room = _room(scene)
        yield scene, rng.choice(room), rng


def _room(scene: Scene) -> range | None:
    """Returns the upper edges of strips that hold all of a scene; None where none does."""
    boxes = [*(thing.box for thing in scene.things), *([scene.sign.box] if scene.sign else [])]
    highest, lowest = min(box[1] for box in boxes), max(box[3] for box in boxes)
    return range(max(0, lowest - HEIGHT), min(highest, CANVAS - HEIGHT) + 1) or None


def picture(scene: Scene, top: int) -> Image:
    """Returns a strip of a scene as it looks.

    Args:
        scene: to be cut.
        top: upper edge of the strip, pixels.
    """
    return render(scene).crop((0, top, CANVAS, top + HEIGHT))


def asked_scene(scene: Scene, top: int) -> Scene:
    """Returns a strip as the square that questions know, with places as shares of its sides."""

    def stretched(box: Box) -> Box:
        scale = CANVAS // HEIGHT
        return (box[0], scale * (box[1] - top), box[2], scale * (box[3] - top))

    things = tuple(replace(thing, box=stretched(thing.box)) for thing in scene.things)
    sign = scene.sign and replace(scene.sign, box=stretched(scene.sign.box))
    return replace(scene, things=things, sign=sign)


def _row(name: str, image: str, scene: Scene, rng: Random, split: Split) -> dict[str, Any]:
    """Returns a conversation in the canonical form, with the boxes of its last answer in pixels."""
    asked = distinct(questions(scene, rng, SEEING, TRIES), TURNS[split])
    row, scale = conversation(name, asked, [image]), HEIGHT / CANVAS
    boxes = [[x0, y0 * scale, x1, y1 * scale] for x0, y0, x1, y1 in row["meta"]["boxes"]]
    return {**row, "meta": {**row["meta"], "boxes": boxes}}


if __name__ == "__main__":
    main(tyro.cli(Options, prog="python -m benchmarks.resize"))
