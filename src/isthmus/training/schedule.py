"""How long a stage learns, in what bites, and along which curve of the learning rate."""

import math
from dataclasses import dataclass
from typing import Literal, final

from isthmus.config import Config


@final
@dataclass(frozen=True, kw_only=True)
class Schedule(Config):
    """How long, in what bites, and how fast a stage learns."""

    batch_size: int
    """Samples per optimizer step, over all processes and pieces."""
    epochs: int | None = None
    """Passes over the data; give this or `steps`."""
    steps: int | None = None
    """Optimizer steps; give this or `epochs`."""
    accumulation: int = 1
    """Pieces in which each process computes its part of a step; more pieces need less memory."""
    warmup_share: float = 0.03
    """Share of the steps over which the learning rate rises from 0 to its peak."""
    final_lr_share: float = 0.0
    """Share of the peak to which the learning rate falls."""
    decay: Literal["cosine", "linear"] = "cosine"
    """Along which curve it falls: half a cosine, or a straight line."""
    weight_decay: float = 0.0
    """Of parameters with two or more axes; norms and biases have none."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Decay rates of AdamW's moments."""
    eps: float = 1e-8
    """What AdamW adds to the root of the second moment."""
    clip: float | None = 1.0
    """Largest norm of the gradient; None does not clip."""

    def __post_init__(self) -> None:
        """Checks what no type can say.

        Raises:
            ValueError: the length is given twice or not at all, or a number is out of range.
        """
        if (self.epochs is None) == (self.steps is None):
            raise ValueError(
                f"epochs is {self.epochs} and steps is {self.steps}; give one and set the other "
                "to None"
            )
        length = self.steps if self.epochs is None else self.epochs
        for name, value in (
            ("epochs or steps", length),
            ("batch_size", self.batch_size),
            ("accumulation", self.accumulation),
        ):
            if value is None or value < 1:
                raise ValueError(f"{name} is {value}; expected at least 1")
        if self.accumulation > self.batch_size:
            raise ValueError(
                f"accumulation {self.accumulation} exceeds the batch_size {self.batch_size}; "
                "a piece would be empty"
            )


def lr_factor(step: int, num_steps: int, schedule: Schedule) -> float:
    """Returns the share of the peak learning rate at a step, counted from 0.

    It rises linearly over the warm-up and falls to `final_lr_share`, along half a cosine or a
    straight line.
    """
    warmup = math.ceil(schedule.warmup_share * num_steps)
    if step < warmup:
        return (step + 1) / warmup
    progress = (step - warmup) / max(1, num_steps - warmup)
    left = 1 - progress if schedule.decay == "linear" else (1 + math.cos(math.pi * progress)) / 2
    return schedule.final_lr_share + (1 - schedule.final_lr_share) * left
