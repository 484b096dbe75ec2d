"""Resumable checkpoints: what was trained, and all that decides the steps to come.

A checkpoint is a folder `checkpoints/step-N` with the weights of every part trained so far, the
optimizer, the position in the run and the random states of each process. Frozen weights, data
files and the way of encoding them are not in it: their fingerprints are, and a resume on others is
refused (images are not compared). It is written under another name and moved, so a folder of that
name is whole.
"""

import json
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, final

import torch
from accelerate import Accelerator
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from isthmus.modeling.weights import put_weights
from isthmus.training.chance import random_states, set_random_states
from isthmus.training.course import Place, Planned
from isthmus.training.sharding import load_optimizer_state, optimizer_state
from isthmus.training.step import StepCounts

CHECKPOINTS = "checkpoints"
KEPT = 2
"""Newest checkpoints that are kept; the second stands in should a disk harm the first."""
_TRAINED, _AVERAGE = "trained.safetensors", "average.safetensors"
_NAME = re.compile(r"step-(\d+)")
_DAMAGE = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    EOFError,
    RuntimeError,
    UnpicklingError,
    SafetensorError,
)
"""What reading a file may raise that a disk harmed."""


@final
@dataclass(frozen=True, kw_only=True)
class Position:
    """Where a run stands."""

    stage: int = 0
    """Number of the stage, from 0."""
    stage_step: int = 0
    """Optimizer steps taken in the stage."""
    place: Place = (0, 0)
    """Where the stage's data goes on."""
    step: int = 0
    """Optimizer steps taken in the run."""
    samples: int = 0
    """Samples learned from in the run."""
    tokens: int = 0
    """Tokens learned from in the run, text and visual together."""
    refused: int = 0
    """Samples that had a fault when they were due."""
    filtered: int = 0
    """Samples that were not asked for when they were due."""
    step_seconds: float = 0.0
    """Time spent in steps."""
    seconds: float = 0.0
    """Time spent in all: loading, encoding, steps, validation, writing."""
    best_loss: float | None = None
    """Lowest validation loss of the stage so far."""

    def after(self, counts: StepCounts, planned: Planned, *, seconds: float) -> "Position":
        """Returns the position after one more step of the stage.

        Args:
            counts: what the step held.
            planned: what was due.
            seconds: that it took.
        """
        return replace(
            self,
            stage_step=self.stage_step + 1,
            place=planned.next,
            step=self.step + 1,
            samples=self.samples + counts.samples,
            tokens=self.tokens + counts.tokens,
            refused=self.refused + counts.refused + planned.refused,
            filtered=self.filtered + planned.filtered,
            step_seconds=self.step_seconds + seconds,
        )

    def per_second(self, count: int) -> float:
        """Returns samples or tokens of the run per second of its steps."""
        return round(count / self.step_seconds, 2) if self.step_seconds else 0.0


@final
@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A checkpoint on disk."""

    folder: Path
    position: Position
    relies_on: Mapping[str, str]
    """Fingerprints of what decides the run but is not in it: frozen parts, and the data."""
    damaged: tuple[Path, ...] = ()
    """Newer checkpoints, which cannot be read."""

    def check(self, found: Mapping[str, str]) -> None:
        """Checks that what the checkpoint relies on is what is there.

        Raises:
            ValueError: a frozen part or the data is another one.
        """
        for name, expected in self.relies_on.items():
            if found.get(name) != expected:
                raise ValueError(
                    f"{self.folder} was written with the {name} {expected}, but now it is "
                    f"{found.get(name)}; restore it, or train into another folder"
                )

    def load_weights(self, module: nn.Module) -> None:
        """Puts the trained weights into a module.

        Raises:
            ValueError: the checkpoint is of another architecture.
        """
        put_weights(module, load_file(self.folder / _TRAINED), self.folder)

    def average(self) -> dict[str, Tensor]:
        """Returns the moving average of what learned; nothing if there is none."""
        file = self.folder / _AVERAGE
        return load_file(file) if file.exists() else {}

    def load_optimizer(self, optimizer: Optimizer) -> None:
        """Puts the moments and step counts into an optimizer."""
        state = torch.load(
            self.folder / "optimizer.pt", weights_only=True, map_location="cpu", mmap=True
        )
        load_optimizer_state(optimizer, state)

    def load_random_states(self, process: int) -> None:
        """Sets the random states of a process; one that is new takes those of the first."""
        own = self.folder / f"random-{process}.pt"
        path = own if own.exists() else self.folder / "random-0.pt"
        set_random_states(torch.load(path, weights_only=True))


def save_checkpoint(
    output: Path,
    *,
    position: Position,
    weights: Mapping[str, Tensor],
    relies_on: Mapping[str, str],
    optimizer: Optimizer,
    accelerator: Accelerator,
    average: Mapping[str, Tensor] | None = None,
    best: bool = False,
    keep: bool = False,
) -> Path:
    """Writes a checkpoint below a run's folder; returns its folder.

    The newest ones stay, the last that was `best`, and every one to `keep`; others go.

    Args:
        output: the run's folder.
        position: where the run stands.
        weights: all that was trained, by name.
        relies_on: fingerprints of what was not.
        optimizer: with its moments.
        accelerator: every process calls this, the main one writes.
        average: of what learns, by name, if one is kept.
        best: whether no validation before gave a lower loss.
        keep: whether it stays for good.

    Raises:
        OSError: it cannot be written; those before it are whole.
    """
    root = output / CHECKPOINTS
    final_folder = root / f"step-{position.step:08d}"
    unfinished = root / f".unfinished-{position.step:08d}"
    if accelerator.is_main_process:
        for left in root.glob(".unfinished-*"):  # by a crash
            shutil.rmtree(left)
        unfinished.mkdir(parents=True)
    accelerator.wait_for_everyone()
    states, moments = random_states(), optimizer_state(optimizer)
    state = {
        "position": asdict(position),
        "relies_on": dict(relies_on),
        "best": best,
        "keep": keep,
    }
    try:
        torch.save(states, unfinished / f"random-{accelerator.process_index}.pt")
        accelerator.wait_for_everyone()
        if accelerator.is_main_process:
            save_file(dict(weights), unfinished / _TRAINED)
            if average is not None:
                save_file(dict(average), unfinished / _AVERAGE)
            torch.save(moments, unfinished / "optimizer.pt")
            (unfinished / "state.json").write_text(json.dumps(state, indent=2))
            _to_disk(unfinished)
            shutil.rmtree(final_folder, ignore_errors=True)
            unfinished.rename(final_folder)
    except (OSError, RuntimeError, SafetensorError) as error:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise OSError(
            f"the checkpoint of step {position.step} cannot be written to {root} ({error}); those "
            "before it are whole: make room, and go on with --resume"
        ) from error
    if accelerator.is_main_process:
        for old in _dispensable(root):
            shutil.rmtree(old)
    accelerator.wait_for_everyone()
    # Writing files draws random names; the run goes on as one does that resumes from here.
    set_random_states(states)
    return final_folder


def best_checkpoint(output: Path) -> Checkpoint | None:
    """Returns the checkpoint with the lowest validation loss of its stage, None if there is none.

    Raises:
        OSError: it cannot be read.
    """
    best = _last_best(_folders(output / CHECKPOINTS))
    return _read(best) if best else None


def last_checkpoint(output: Path) -> Checkpoint | None:
    """Returns the newest checkpoint of a run that can be read, or None when there is none at all.

    Raises:
        ValueError: none of those that there are can be read.
    """
    damaged: tuple[Path, ...] = ()
    for folder in reversed(_folders(output / CHECKPOINTS)):
        try:
            return replace(_read(folder), damaged=damaged)
        except _DAMAGE:
            damaged = (*damaged, folder)
    if damaged:
        names = " and ".join(map(str, damaged))
        raise ValueError(f"{names} cannot be read; delete the run's folder to start it again")
    return None


def _read(folder: Path) -> Checkpoint:
    """Reads a checkpoint far enough to see that its files are whole."""
    state = json.loads((folder / "state.json").read_text())
    for path in {folder / _TRAINED, *folder.glob(_AVERAGE)}:
        with safe_open(path, "pt"):  # compares its header with its size
            pass
    torch.load(folder / "optimizer.pt", weights_only=True, mmap=True)
    for path in {folder / "random-0.pt", *folder.glob("random-*.pt")}:
        torch.load(path, weights_only=True)
    place = tuple(state["position"]["place"])
    position = Position(**{**state["position"], "place": place})
    return Checkpoint(folder=folder, position=position, relies_on=state["relies_on"])


def _dispensable(root: Path) -> list[Path]:
    """Returns the checkpoints that nothing asks to keep."""
    folders = _folders(root)
    best = _last_best(folders)
    return [f for f in folders[:-KEPT] if f != best and not _state(f).get("keep")]


def _last_best(folders: Sequence[Path]) -> Path | None:
    return next((folder for folder in reversed(folders) if _state(folder).get("best")), None)


def _state(folder: Path) -> dict[str, Any]:
    """Reads what a checkpoint says of itself; nothing, should a disk have harmed it."""
    try:
        return json.loads((folder / "state.json").read_text())
    except (OSError, ValueError):
        return {}


def _folders(root: Path) -> list[Path]:
    """Returns the whole checkpoints of a run, oldest first."""
    if not root.is_dir():
        return []
    return sorted(folder for folder in root.iterdir() if _NAME.fullmatch(folder.name))


def _to_disk(folder: Path) -> None:
    """Makes sure that a folder's files outlast the machine before their name says so."""
    for path in [*folder.iterdir(), folder]:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
