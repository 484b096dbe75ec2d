"""One step: the losses of a global batch, computed in pieces, weighted so that pieces don't matter.

A loss or metric is the sum over the items of the whole batch divided by their number. Each piece
knows only its own mean, so it is weighted by its share of the items, over all pieces and processes.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any, cast, final

import torch
from accelerate import Accelerator
from jaxtyping import Float
from torch import Tensor, nn

from isthmus.axes import Batch
from isthmus.modeling.parts import ModelPart, Parts
from isthmus.objectives.base import Objective, ObjectiveConfig
from isthmus.training.sharding import touched


@final
@dataclass(frozen=True, slots=True)
class Piece:
    """What a process computes at once."""

    batch: Batch
    refused: int = 0
    """Samples that would be in it and could not be read."""


@final
@dataclass(frozen=True, slots=True)
class StepCounts:
    """What a step was made of, over all pieces and processes."""

    items: tuple[float, ...]
    """Items of each objective."""
    samples: int
    tokens: int
    """Real positions, of text and visual tokens, and of what a decoder writes."""
    refused: int
    """Samples that would be in it and could not be read."""


@final
@dataclass(slots=True)
class Figures:
    """Losses and metrics of a batch by name, as sums over its pieces."""

    losses: dict[str, Tensor] = field(default_factory=dict)
    metrics: dict[str, Tensor] = field(default_factory=dict)

    def add(self, losses: Mapping[str, Tensor], metrics: Mapping[str, Tensor]) -> None:
        """Adds those of a piece."""
        for sums, values in ((self.losses, losses), (self.metrics, metrics)):
            for name, value in values.items():
                sums[name] = sums[name] + value if name in sums else value

    def reduced(self, accelerator: Accelerator) -> tuple[dict[str, float], dict[str, float]]:
        """Returns losses and metrics, each summed over all processes."""
        values = [value.item() for value in (*self.losses.values(), *self.metrics.values())]
        summed = iter(reduced(values, accelerator))
        losses = {name: next(summed) for name in self.losses}
        return losses, {name: next(summed) for name in self.metrics}


@final
class Trainee(nn.Module):
    """The model and its objectives as one module, which is wrapped, trained and saved as one."""

    def __init__(self, model: Any, configs: Sequence[ObjectiveConfig]):
        """Builds the objectives of a model."""
        super().__init__()
        self.model = model
        self.objectives = nn.ModuleList(config.build(model) for config in configs)
        self.weights = [config.weight for config in configs]
        self.owners: dict[str, int] = {}
        """Which objective a loss or metric comes from."""
        self.is_sharded = False
        """Whether other processes hold parts of its weights, and wait for this one's gradients."""

    def parts(self) -> Parts:
        """Returns the model's parts, and the objectives when they own parameters."""
        own = ModelPart(list(self.objectives))
        return {**self.model.parts(), **({"objectives": own} if own.parameters() else {})}

    def items(self, piece: Piece) -> list[int]:
        """Returns the items of each objective in a piece."""
        if piece.batch.stand_in:
            return [0] * len(self.weights)
        return [cast(Objective, module).num_items(piece.batch) for module in self.objectives]

    def forward(
        self, batch: Batch, shares: Sequence[float]
    ) -> tuple[Float[Tensor, ""], dict[str, Tensor], dict[str, Tensor]]:
        """Returns the weighted sum to train, and losses and metrics multiplied by the shares.

        Args:
            batch: samples of one piece.
            shares: of each objective's items in the whole step, those that lie in this piece.
        """
        losses: dict[str, Tensor] = {}
        metrics: dict[str, Tensor] = {}
        total = torch.zeros((), device=batch.input_ids.device)
        batch = replace(batch, shared={})
        for owner, (objective, weight) in enumerate(
            zip(self.objectives, self.weights, strict=True)
        ):
            outcome = objective(self.model, batch)
            for sums, found in ((losses, outcome.losses), (metrics, outcome.metrics)):
                for name, value in found.items():
                    self.owners[name] = owner
                    sums[name] = value.detach().float() * shares[owner]
            for loss in outcome.losses.values():
                total = total + loss.float() * (shares[owner] * weight)
        if self.is_sharded and torch.is_grad_enabled():
            total = total + touched(self)
        return total, losses, metrics


def take_step(
    learner: nn.Module, pieces: Sequence[Piece], accelerator: Accelerator, dtype: torch.dtype
) -> tuple[Figures, StepCounts]:
    """Computes the gradient of a global batch.

    Args:
        learner: a `Trainee`, as Accelerate wrapped it.
        pieces: what this process computes of the batch, one at a time.
        accelerator: knows the other processes.
        dtype: number format of the computation.

    Returns:
        Losses and metrics of the whole batch, as far as this process computed them, and what the
        whole batch held.
    """
    trainee: Trainee = accelerator.unwrap_model(learner)
    items = [trainee.items(piece) for piece in pieces]
    counts = _count(pieces, items, accelerator)
    figures = Figures()
    for piece, held in zip(pieces, items, strict=True):
        shares = [n / max(1.0, whole) for n, whole in zip(held, counts.items, strict=True)]
        is_last = piece is pieces[-1]
        with nullcontext() if is_last else accelerator.no_sync(learner):
            with autocast(accelerator.device, dtype):
                total, losses, metrics = learner(piece.batch.to(accelerator.device), shares)
            if total.requires_grad:  # text alone does not reach a connector
                # Processes average their gradients; scaled up, the average is the sum.
                accelerator.backward(total * accelerator.num_processes)
        figures.add(losses, metrics)
    return figures, counts


@torch.no_grad()
def validate(
    trainee: Trainee, pieces: Iterable[Piece], accelerator: Accelerator, dtype: torch.dtype
) -> tuple[dict[str, float], dict[str, float]]:
    """Returns losses and metrics over a whole set, of which each process computes its pieces."""
    figures = Figures()
    counts = [0.0] * len(trainee.weights)
    for piece in pieces:
        items = [float(n) for n in trainee.items(piece)]
        with autocast(accelerator.device, dtype):
            _, losses, metrics = trainee(piece.batch.to(accelerator.device), items)
        figures.add(losses, metrics)
        counts = [a + b for a, b in zip(counts, items, strict=True)]
    counts = reduced(counts, accelerator)

    def means(sums: dict[str, float]) -> dict[str, float]:
        return {
            name: total / max(1.0, counts[trainee.owners[name]]) for name, total in sums.items()
        }

    summed_losses, summed_metrics = figures.reduced(accelerator)
    return means(summed_losses), means(summed_metrics)


def reduced(values: Sequence[float], accelerator: Accelerator) -> list[float]:
    """Returns numbers summed over all processes."""
    if accelerator.num_processes == 1:
        return list(values)
    summed = accelerator.reduce(
        torch.tensor(values, dtype=torch.float64, device=accelerator.device), "sum"
    )
    return summed.tolist()


def autocast(device: torch.device, dtype: torch.dtype) -> AbstractContextManager[None]:
    """Returns the context in which the model computes in `dtype`."""
    return torch.autocast(device.type, dtype, enabled=dtype != torch.float32)


def _count(
    pieces: Sequence[Piece], items: Sequence[Sequence[int]], accelerator: Accelerator
) -> StepCounts:
    real = [piece.batch for piece in pieces if not piece.batch.stand_in]
    samples = sum(batch.num_samples for batch in real)
    tokens = sum(batch.num_positions for batch in real)
    held = [float(sum(column)) for column in zip(*items, strict=True)]
    refused = sum(piece.refused for piece in pieces)
    *whole, samples_whole, tokens_whole, refused_whole = reduced(
        [*held, float(samples), float(tokens), float(refused)], accelerator
    )
    return StepCounts(tuple(whole), int(samples_whole), int(tokens_whole), int(refused_whole))
