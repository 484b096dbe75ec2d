"""What a recipe costs, before anything is loaded."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, final

import tyro
from rich.table import Table

from isthmus.cli._console import plain
from isthmus.cli._overrides import overridden

if TYPE_CHECKING:
    from isthmus.study.plan import Plan

PLAN = """What a recipe costs, before anything is loaded.

Its model is built without weights, and a step is taken in shapes alone: parameters, visual tokens,
operations and memory follow from that, step time and hours from the figures of a device. Fields of
the recipe are flags, as of `isthmus train`."""


@final
@dataclass(frozen=True)
class Options:
    """What to plan, and for which device."""

    recipe: Annotated[str, tyro.conf.Positional]
    """Name of a recipe (see `isthmus show`), a recipe.json, or a folder that holds one."""
    device: str = "a100"
    """a100, a100_40gb, h100, h200, l40s, rtx_4090, rtx_3090, v100, cpu_core; or your own figures as
    TFLOPS,GB or TFLOPS,GB,SHARE, of which training gets the share 0.4 unless given."""
    devices: int = 1
    """How many of them."""
    sharded: bool = False
    """Each holds a part of every weight (FSDP2). Step times leave out what they tell each other."""
    text_tokens: int = 128
    """Of a sample, question and answer together."""
    images: int = 1
    """Of a sample; a clip that the connector reads as one counts once."""
    samples: int | None = None
    """Of the data, where the recipe counts epochs; those of its published file if it names one."""
    json: bool = False
    """Print one JSON object in place of tables."""


def main(arguments: Sequence[str]) -> None:
    """Runs the command."""
    options, overrides = tyro.cli(
        Options, args=arguments, prog="isthmus plan", description=PLAN, return_unknown_args=True
    )
    from isthmus.cli._recipe import find
    from isthmus.study.devices import device_of
    from isthmus.study.plan import Assumed, plan

    recipe = overridden(find(options.recipe), overrides, prog=f"isthmus plan {options.recipe}")
    assumed = Assumed(
        text_tokens=options.text_tokens,
        images=options.images,
        samples=options.samples,
        devices=options.devices,
        sharded=options.sharded,
    )
    device = device_of(options.device)
    found = plan(recipe, device, assumed)
    if options.json:
        sys.stdout.write(json.dumps(found.to_dict(), indent=2) + "\n")
        return
    _show(found, options)
    if (most := max(stage.peak_memory_gb for stage in found.stages)) > device.memory_gb:
        plain().print(
            f"{most:.1f} GB are more than the {device.memory_gb:g} GB of the device: raise "
            "accumulation, set gradient_checkpointing, train low-rank updates, or share the "
            "weights out over more devices (--sharded)"
        )


def _show(found: "Plan", options: Options) -> None:
    console = plain()
    for stage in found.stages:
        table = Table(title=f"{found.recipe}, stage {stage.name}")
        for column in ("part", "parameters", "trained"):
            table.add_column(column, justify="left" if column == "part" else "right")
        for part, number in stage.parameters.items():
            table.add_row(part, f"{number:,}", f"{stage.trained[part]:,}")
        console.print(table)
        lines = {
            "visual tokens of an image": f"{stage.visual_tokens:,}",
            "GFLOP of a sample": f"{stage.flops_per_sample / 1e9:,.1f}",
            "samples at once": f"{stage.batch_per_device:,}",
            "peak memory of a device": f"{stage.peak_memory_gb:.2f} GB",
            "step": f"{stage.step_seconds:.3g} s",
            "steps": _or_unknown(stage.steps, "{:,}"),
            "hours": _or_unknown(stage.hours, "{:.2f}"),
            "checkpoints on disk": f"{stage.checkpoint_gb:.2f} GB",
        }
        if stage.samples is not None:
            lines["samples of the data"] = f"{stage.samples:,}"
        if stage.feature_store_gb is not None:
            lines["feature store on disk"] = f"{stage.feature_store_gb:.2f} GB"
        for name, value in lines.items():
            console.print(f"  {name}: {value}")
    console.print(
        f"\nOn {options.devices} x {options.device}, with {options.text_tokens} tokens of text in "
        "a sample. Step times are estimates; they assume the share of the device's figures that "
        "training usually gets."
    )


def _or_unknown(value: float | None, form: str) -> str:
    return "not known; give --samples" if value is None else form.format(value)
