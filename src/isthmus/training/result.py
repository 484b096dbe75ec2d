"""What a training run came to."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, final

from isthmus.evaluation.memory import peak_memory_gb
from isthmus.training.checkpoint import Position
from isthmus.training.log import read_log


@final
@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """The cost of a run and the course of its losses."""

    output: Path
    """Folder with the trained model."""
    steps: int
    """Optimizer steps."""
    samples: int
    """Samples learned from, counted each time."""
    tokens: int
    """Tokens learned from, text and visual together."""
    refused: int
    """Samples that were due and had a fault, counted each time; none of what was tried before."""
    filtered: int
    """Samples that were due and not asked for, the same."""
    train_seconds: float
    """Time in all: loading, encoding, steps, validation, checkpoints; over all resumes."""
    samples_per_second: float
    """Of the time spent in steps."""
    tokens_per_second: float
    """Of the time spent in steps."""
    peak_memory_gb: float
    """Largest memory of the process on a CPU, of the accelerator elsewhere. Units: 10^9 bytes."""
    losses: tuple[tuple[int, float], ...]
    """Step and training loss of each logged step."""
    validation_losses: tuple[tuple[int, float], ...]
    """Step and validation loss of each validation."""

    def cost(self) -> dict[str, Any]:
        """Returns what the run took as JSON-able values; the course of the losses is in its log."""
        course = ("output", "losses", "validation_losses")
        return {name: value for name, value in asdict(self).items() if name not in course}


def result_of(output: Path, position: Position, *, seconds: float) -> TrainResult:
    """Returns what a finished run came to.

    Args:
        output: the run's folder, with its log.
        position: where it ended.
        seconds: that it took in all.
    """
    lines = read_log(output)
    # A resumed run may have logged a step twice; the later line is of the weights that were kept.
    losses = {line["step"]: line["loss"] for line in lines if "loss" in line}
    validation = {
        line["step"]: line["validation_loss"] for line in lines if "validation_loss" in line
    }
    return TrainResult(
        output=output,
        steps=position.step,
        samples=position.samples,
        tokens=position.tokens,
        refused=position.refused,
        filtered=position.filtered,
        train_seconds=seconds,
        samples_per_second=position.per_second(position.samples),
        tokens_per_second=position.per_second(position.tokens),
        peak_memory_gb=peak_memory_gb(),
        losses=tuple(sorted(losses.items())),
        validation_losses=tuple(sorted(validation.items())),
    )
