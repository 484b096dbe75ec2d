"""Runs that die and go on, and whether they end as if they had not."""

from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file
from torch import Tensor

from isthmus.training import loop
from isthmus.training.loop import train
from isthmus.training.result import TrainResult
from isthmus.training.stage import Recipe


class Kill(BaseException):
    """What a kill looks like from inside."""


def run(recipe: Recipe, output: Path, **options: Any) -> tuple[TrainResult, str]:
    """Trains; returns what it came to, and what was shown."""
    console = Console(file=StringIO(), width=100)
    result = train(recipe, output, console=console, **options)
    return result, console.file.getvalue()


def run_until(monkeypatch: pytest.MonkeyPatch, recipe: Recipe, output: Path, step: int) -> None:
    """Trains, and dies in a step: after its update, before anything is written of it."""
    whole = loop._log_step

    def dying(run: Any, *args: Any, **options: Any) -> None:
        if run.position.step == step:
            raise Kill
        whole(run, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "_log_step", dying)
        with pytest.raises(Kill):
            run(recipe, output, resume=True)


def weights(output: Path) -> dict[str, Tensor]:
    """The weights of a finished run."""
    return load_file(output / "model.safetensors")


def bit_equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    """Whether two models have the same weights, bit by bit."""
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)
