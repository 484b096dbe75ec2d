"""The loop that pretrains every microworld tower: a step's batch depends on (seed, step) alone."""

import math
import re
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import Tensor, nn

from isthmus.microworld.source import world_digest
from isthmus.microworld.towers.muon import Muon

_WARMUP, _DECAY = 0.02, 0.25
_SAVE_EVERY_SECONDS, _LINE_EVERY_SECONDS = 120.0, 30.0


class Pretraining(ABC):
    """What one tower brings to the loop."""

    name: str
    steps: int
    learning_rate: float
    model: Any
    """The module that is trained."""

    @abstractmethod
    def loss(self, step: int) -> tuple[Tensor, dict[str, float]]:
        """The loss of the step's batch and figures to show beside it."""

    @abstractmethod
    def scores(self) -> dict[str, float]:
        """What the finished tower can do, on the test split."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Writes the folder that `from_pretrained` reads."""

    def state(self) -> dict[str, Any]:
        """What beside the weights must survive a restart."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:  # noqa: B027 (most have nothing to restore)
        """Takes back what `state` gave."""


def precision() -> torch.dtype:
    """Returns bfloat16 where the CPU has instructions for it; emulated, it is slower than fp32."""
    able = torch.cpu.get_capabilities()
    fast = able.get("avx512_bf16") or able.get("amx_bf16")
    return torch.bfloat16 if fast else torch.float32


def optimizers(model: nn.Module, learning_rate: float) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the blocks, AdamW for embeddings, norms, biases and heads."""
    embeddings = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
    matrices: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        is_map = parameter.ndim == 2 and id(parameter) not in embeddings
        inside = is_map and re.search(r"\.layers?\.\d+\.", name) is not None
        (matrices if inside else others).append(parameter)
    return [
        Muon(matrices, lr=learning_rate, weight_decay=0.01, precision=precision()),
        torch.optim.AdamW(others, lr=learning_rate, betas=(0.9, 0.95), weight_decay=0.0),
    ]


def schedule(step: int, steps: int) -> float:
    """Share of the peak learning rate: linear warm-up, constant, linear decay to a hundredth."""
    progress = step / steps
    rise = min(1.0, (step + 1) / math.ceil(_WARMUP * steps))
    fall = min(1.0, (1.0 - progress) / _DECAY)
    return rise * max(0.01, fall)


def pretrain(run: Pretraining, work: Path, console: Console, *, seed: int) -> dict[str, Any]:
    """Trains the run's model to its last step, going on from `work` where an earlier call stopped.

    Returns:
        Provenance: seed, steps, seconds of training in all, number format, torch version.

    Raises:
        ValueError: the earlier call was to take other steps, or learnt from another world.
    """
    work.mkdir(parents=True, exist_ok=True)
    checkpoint = work / f"{run.name}.pt"
    identity = {"seed": seed, "steps": run.steps, "world": world_digest()}
    optims = optimizers(run.model, run.learning_rate)
    step, seconds = 0, 0.0
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        if saved["identity"] != identity:
            raise ValueError(
                f"{checkpoint} was begun as {saved['identity']}, this build is {identity}; delete "
                "the file to begin again"
            )
        run.model.load_state_dict(saved["model"])
        for optim, state in zip(optims, saved["optimizers"], strict=True):
            optim.load_state_dict(state)
        run.restore(saved["run"])
        step, seconds = saved["step"], saved["seconds"]
        console.print(f"{run.name}: going on from step {step}")

    def save() -> None:
        partial = checkpoint.with_suffix(".partial")
        state = {
            "identity": identity,
            "model": run.model.state_dict(),
            "optimizers": [optim.state_dict() for optim in optims],
            "run": run.state(),
            "step": step,
            "seconds": seconds,
        }
        torch.save(state, partial)
        partial.replace(checkpoint)

    run.model.train()
    columns = (
        TextColumn(run.name),
        BarColumn(),
        TextColumn("{task.completed}/{task.total} {task.fields[figures]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    last_save = last_line = time.monotonic()
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(run.name, total=run.steps, completed=step, figures="")
        try:
            while step < run.steps:
                started = time.monotonic()
                figures = _take_step(run, optims, step, seed)
                step += 1
                now = time.monotonic()
                seconds += now - started
                line = " ".join(f"{key} {value:.3f}" for key, value in figures.items())
                bar.update(task, completed=step, figures=line)
                if not console.is_terminal and now - last_line > _LINE_EVERY_SECONDS:
                    console.print(f"{run.name} {step}/{run.steps} {seconds:.0f}s {line}")
                    last_line = now
                if now - last_save > _SAVE_EVERY_SECONDS:
                    save()
                    last_save = now
        finally:
            save()  # an interrupt loses nothing
    run.model.eval()
    return {
        "seed": seed,
        "steps": run.steps,
        "train_seconds": round(seconds),
        "precision": str(precision()).removeprefix("torch."),
        "torch": torch.__version__,
    }


def _take_step(
    run: Pretraining, optims: list[torch.optim.Optimizer], step: int, seed: int
) -> dict[str, float]:
    for optim in optims:
        for group in optim.param_groups:
            group["lr"] = run.learning_rate * schedule(step, run.steps)
    torch.manual_seed(seed * 1_000_003 + step)
    with torch.autocast("cpu", torch.bfloat16, enabled=precision() is torch.bfloat16):
        loss, figures = run.loss(step)
    loss.backward()
    nn.utils.clip_grad_norm_(run.model.parameters(), 1.0)
    for optim in optims:
        optim.step()
        optim.zero_grad(set_to_none=True)
    return figures
