"""A file of a million rows: how soon the first batch is there, what memory it takes, what it costs.

`python -m benchmarks.million_samples --output FILE`

The rows are short questions about 100 pictures. They are read when they are due, in a shuffled
order, each once; the pass makes every batch but for its pixels, which are no matter of the number
of rows. `seconds_to_first_batch` counts from opening the file, pixels included, and
`memory_growth` is by how much the memory of the process ever exceeds what it was after the first
window.

`planning_share` is the time that the order takes for a step (which row is drawn when, which rows
share a batch), and `making_share` that of reading and encoding its rows, which another thread does
meanwhile; both of the time in which the quick start's connector learns from such a batch.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import final

import torch
import tyro
from rich.console import Console
from rich.progress import track

from benchmarks.outcome import publish
from benchmarks.scratch import scratch_cache
from isthmus import recipes
from isthmus.axes import Batch
from isthmus.cli._quiet import hush_libraries
from isthmus.data.mixture.draws import Draws
from isthmus.data.order import even_batches
from isthmus.data.quarantine import Quarantine
from isthmus.microworld.render import render
from isthmus.microworld.scene import scenes
from isthmus.modeling.modeling_isthmus import IsthmusForConditionalGeneration
from isthmus.modeling.processing_isthmus import IsthmusProcessor
from isthmus.objectives.language_modeling import LanguageModeling
from isthmus.training.data import FileData
from isthmus.training.examples import Conversations
from isthmus.training.models import ModelConfig
from isthmus.training.read_mixture import read_drawn
from isthmus.training.resolve import build_model
from isthmus.training.windows import WINDOW, Windows

NUM_PICTURES = 100
BATCH_SIZE = 16
STEPS = 5
"""Steps of training that are timed."""


@final
@dataclass(frozen=True)
class Options:
    """Measure a large file."""

    output: Path | None = None
    """JSON file that gets the numbers, too."""
    num: int = 1_000_000
    """Rows."""


def main(options: Options) -> None:
    """Measures and publishes the numbers."""
    hush_libraries()
    torch.manual_seed(0)
    recipe = recipes.resolve("microworld.quickstart")
    assert isinstance(recipe.model, ModelConfig)
    with scratch_cache(), TemporaryDirectory() as folder:
        file = written(Path(folder), options.num)
        model, processor = build_model(recipe.model)
        start = perf_counter()
        windows = opened(file, processor, model.config.max_positions)
        first = next(windows.planned((0, 0)))
        batch = first.dataset.batch(first.indices)
        to_first = perf_counter() - start
        step = seconds_of_a_step(model, batch)
        start, growth, before, num_batches = perf_counter(), 0.0, 0, 0
        console = Console(stderr=True)
        for number in track(range(windows.num_windows), console=console, description="a pass"):
            num_batches += len(windows.window(number).batches)
            before = before or resident_bytes()
            growth = max(growth, resident_bytes() / before - 1)
        whole = perf_counter() - start
        planning = seconds_of_planning(options.num)
    publish(
        {
            "seconds_to_first_batch": to_first,
            "memory_growth": growth,
            "planning_share": planning / num_batches / step,
            "making_share": (whole - planning) / num_batches / step,
            "rows": options.num,
            "seconds_of_a_pass": whole,
            "seconds_of_a_step": step,
            "resident_gb": before / 1e9,
        },
        options.output,
        command="python -m benchmarks.million_samples",
    )


def written(folder: Path, num: int) -> Path:
    """Writes the pictures and the rows; returns the file."""
    for number, (scene, _) in enumerate(scenes("train", NUM_PICTURES, 0)):
        render(scene).save(folder / f"{number}.png")
    file = folder / "rows.jsonl"
    with file.open("w", encoding="utf-8") as lines:
        for number in range(num):
            image = {"type": "image"}
            question = "What colour is the star?" + " And why?" * (number % 5)
            row = {
                "id": f"row-{number}",
                "images": [f"{number % NUM_PICTURES}.png"],
                "messages": [
                    {"role": "user", "content": [image, {"type": "text", "text": question}]},
                    {"role": "assistant", "content": "red"},
                ],
            }
            lines.write(json.dumps(row) + "\n")
    return file


def opened(file: Path, processor: IsthmusProcessor, max_length: int | None) -> Windows:
    """Returns the course over the rows."""
    examples, quarantine = Conversations(processor, max_length), Quarantine(None)
    data = FileData(file=file, image_root=file.parent, lazy=True)
    found = read_drawn(data, examples, seed=0, quarantine=quarantine)
    return Windows(
        drawn=found.drawn,
        examples=examples,
        parts=lambda sample: [sample],
        features=None,
        batch_size=BATCH_SIZE,
        packing=None,
        seed=0,
        quarantine=quarantine,
        max_bad_share=0.0,
        tried_before=False,
    )


def seconds_of_planning(num: int) -> float:
    """Returns the time that the order of an epoch takes: its draws, and who shares a batch."""
    start = perf_counter()
    draws = Draws([num], [1.0], num=num, seed=0)
    size = WINDOW * BATCH_SIZE
    for window, first in enumerate(range(0, num, size)):
        rows = [draws.draw(0, number).row for number in range(first, min(first + size, num))]
        even_batches(rows, -(-len(rows) // BATCH_SIZE), seed=0, window=window)
    return perf_counter() - start


def seconds_of_a_step(model: IsthmusForConditionalGeneration, batch: Batch) -> float:
    """Returns the time in which a model learns from a batch; the connector is trained."""
    model.requires_grad_(False)
    model.model.connector.requires_grad_(True)
    optimizer = torch.optim.AdamW(model.model.connector.parameters())
    objective = LanguageModeling.Config().build(model)
    taken = []
    for _ in range(STEPS + 1):
        start = perf_counter()
        sum(objective(model, batch).losses.values()).backward()
        optimizer.step()
        optimizer.zero_grad()
        taken.append(perf_counter() - start)
    return median(taken[1:])


def resident_bytes() -> int:
    """Returns the memory that the process holds now."""
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    main(tyro.cli(Options, prog="python -m benchmarks.million_samples"))
