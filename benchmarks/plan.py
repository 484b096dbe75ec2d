"""What `isthmus plan` predicts, held against runs: operations, and memory.

`python -m benchmarks.plan --output FILE`

- `flops_ratio`: operations that torch counts in a real step, by those of the plan.
- `memory_ratio`: weights and moments, and what a process grew by while it took three steps, by the
  plan's peak; in both number formats, with all learning and with the connector alone, and with
  layers that run again in the backward pass. On a CPU, autocast leaves more in half precision than
  on a GPU (layer norms, for one), which makes no difference to this model. The process returns
  freed memory at once (MALLOC_* below), since otherwise the habits of the allocator are measured,
  too.
"""

import json
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, final

import torch
import tyro
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.outcome import publish
from isthmus import recipes
from isthmus.axes import Batch
from isthmus.study.devices import DEVICES
from isthmus.study.plan import Assumed, plan
from isthmus.training.freeze import freeze_and_thaw, recomputed_layers, set_modes
from isthmus.training.optim import build_optimizer
from isthmus.training.resolve import build
from isthmus.training.stage import Recipe
from isthmus.training.step import Trainee, autocast

_RETURN_AT_ONCE = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}


_CASES = {
    "all learn, float32": (),
    "all learn, bfloat16": ("--dtype", "bfloat16"),
    "connector alone, float32": ("--alone",),
    "connector alone, bfloat16": ("--alone", "--dtype", "bfloat16"),
    "connector alone, bfloat16, recomputed": ("--alone", "--dtype", "bfloat16", "--recomputed"),
}


@final
@dataclass(frozen=True)
class Options:
    """Hold plans against runs."""

    output: Path | None = None
    """JSON file that gets the numbers, too."""
    batch_size: int = 64
    text_tokens: int = 64
    measure: bool = False
    """What a process that is measured is told."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    alone: bool = False
    """Train the connector alone."""
    recomputed: bool = False


def main(options: Options) -> None:
    """Plans, runs in processes of their own, and compares."""
    if options.measure:
        sys.stdout.write(json.dumps(_held_against_plan(options)))
        return
    sizes = [
        *("--batch-size", str(options.batch_size)),
        *("--text-tokens", str(options.text_tokens)),
    ]
    found = {}
    for name, words in _CASES.items():
        command = [sys.executable, "-m", "benchmarks.plan", "--measure", *sizes, *words]
        environment = {**os.environ, **_RETURN_AT_ONCE}
        told = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
        found[name] = json.loads(told.stdout)
    publish(found, options.output, command="python -m benchmarks.plan")


def _recipe(options: Options) -> Recipe:
    start = recipes.resolve("microworld.quickstart")
    (stage,) = start.stages
    stage = replace(
        stage,
        feature_store=False,
        schedule=replace(stage.schedule, batch_size=options.batch_size),
        train=stage.train[:1] if options.alone else stage.train,
        dtype=options.dtype,
        gradient_checkpointing=options.recomputed,
    )
    return replace(start, stages=(stage,))


def _held_against_plan(options: Options) -> dict[str, float]:
    """Returns what a few steps take, and the plan says."""
    recipe = _recipe(options)
    (stage,) = recipe.stages
    planned = plan(recipe, DEVICES["cpu_core"], Assumed(text_tokens=options.text_tokens)).stages[0]
    model: Any = build(recipe.model)[0]
    trainee = Trainee(model, stage.objectives)
    parts = trainee.parts()
    freeze_and_thaw(parts, stage.train)
    set_modes(trainee, parts, stage.train)
    optimizer = build_optimizer(parts, stage.train, stage.schedule)
    cpu, dtype = torch.device("cpu"), getattr(torch, stage.dtype)

    def step(batch: Batch) -> None:
        with recomputed_layers(model, enabled=stage.gradient_checkpointing):
            with autocast(cpu, dtype):
                total = trainee(batch, [1.0])[0]
            total.backward()
        optimizer.step()
        optimizer.zero_grad()

    step(_batch(model.config, 1, options))  # libraries load parts of themselves
    held = [*trainee.parameters(), *(v for s in optimizer.state.values() for v in s.values())]
    before, batch = _memory("VmRSS"), _batch(model.config, options.batch_size, options)
    Path("/proc/self/clear_refs").write_text("5")  # forgets the peak so far
    for _ in range(3):
        step(batch)
    peak = _memory("VmHWM") - before + sum(each.nbytes for each in held)
    recomputed = recomputed_layers(model, enabled=stage.gradient_checkpointing)
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH), recomputed:
        trainee(batch, [1.0])[0].backward()
    flops = counter.get_total_flops() / options.batch_size
    return {
        "flops_ratio": flops / planned.flops_per_sample,
        "memory_ratio": peak / (planned.peak_memory_gb * 1e9),
        "planned_gb": planned.peak_memory_gb,
        "measured_gb": peak / 1e9,
    }


def _batch(config: Any, num: int, options: Options) -> Batch:
    places = torch.full((num, config.num_placeholders), config.image_token_id)
    ids = torch.cat([places, torch.randint(5, 50, (num, options.text_tokens))], dim=1)
    labels = ids.clone()
    labels[:, : places.shape[1] + options.text_tokens // 2] = -100
    size = (num, 3, config.image_size, config.image_size)
    pixels = torch.randint(0, 256, size, dtype=torch.uint8)
    return Batch(
        input_ids=ids, attention_mask=torch.ones_like(ids), labels=labels, pixel_values=pixels
    )


def _memory(name: str) -> int:
    """Returns what the kernel says of this process, in bytes."""
    lines = Path("/proc/self/status").read_text("utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


if __name__ == "__main__":
    main(tyro.cli(Options, prog="python -m benchmarks.plan"))
