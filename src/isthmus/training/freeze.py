"""What learns and what stays: freezing by part, the modes that follow from it, and the table."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, final

from rich.table import Table
from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers.modeling_layers import GradientCheckpointingLayer

from isthmus.training.stage import Part

Parts = Mapping[str, Sequence[nn.Module]]
"""Modules of each part, by name."""


@final
@dataclass(frozen=True, kw_only=True)
class PartRow:
    """A line of the trainability table."""

    part: str
    parameters: int
    """Numbers in the part's weights."""
    trainable: int
    """Those of them that learn."""
    lr: float
    """Peak learning rate; 0 when frozen."""

    def to_dict(self) -> dict[str, Any]:
        """Returns the row as JSON-able values."""
        return asdict(self)


def parameters_of(modules: Sequence[nn.Module]) -> list[nn.Parameter]:
    """Returns the parameters of a part, each once, however often it is tied."""
    return list({id(p): p for module in modules for p in module.parameters()}.values())


def freeze_and_thaw(parts: Parts, trained: Sequence[Part]) -> list[PartRow]:
    """Lets the trained parts learn and freezes the others; returns the table's rows.

    Raises:
        ValueError: a trained part is not in the model, or has no parameters.
    """
    rates: dict[str, float] = {part.name: part.lr for part in trained}
    for name in rates:
        if name not in parts:
            raise ValueError(f"the part {name!r} is not in the model; it has {', '.join(parts)}")
        if not parameters_of(parts[name]):
            raise ValueError(f"the part {name!r} has no parameters to train; leave it out")
    if "objectives" in parts and "objectives" not in rates:
        raise ValueError(
            "the objectives own parameters that no part trains; add a part named 'objectives' "
            "with their learning rate"
        )
    rows = []
    for name, modules in parts.items():
        parameters = parameters_of(modules)
        for parameter in parameters:
            parameter.requires_grad_(name in rates)
        size = sum(parameter.numel() for parameter in parameters)
        rate = rates.get(name, 0.0)
        rows.append(
            PartRow(part=name, parameters=size, trainable=size if name in rates else 0, lr=rate)
        )
    return rows


def set_modes(root: nn.Module, parts: Parts, trained: Sequence[Part]) -> None:
    """Puts a model into training mode, but for frozen parts: no dropout, no running statistics."""
    names = {part.name for part in trained}
    root.train()
    for name, modules in parts.items():
        for module in modules:
            module.train(name in names)


@contextmanager
def recomputed_layers(model: nn.Module, *, enabled: bool) -> Iterator[None]:
    """Makes every transformer layer recompute its activations in the backward pass, for a while.

    Differs: transformers' own switch does so only for layers in training mode, which leaves out
        a frozen language model, whose activations are the most of a connector's training.
    """
    layers = [m for m in model.modules() if isinstance(m, GradientCheckpointingLayer)]
    for layer in layers if enabled else []:
        layer.forward = partial(checkpoint, layer.forward, use_reentrant=False)
    try:
        yield
    finally:
        for layer in layers if enabled else []:
            del layer.forward  # uncovers the class's own


def part_table(rows: Sequence[PartRow]) -> Table:
    """Returns the trainability table."""
    table = Table(title="what is trained")
    table.add_column("part")
    for column in ("parameters", "trainable", "learning rate"):
        table.add_column(column, justify="right")
    for row in rows:
        rate = f"{row.lr:g}" if row.trainable else "frozen"
        table.add_row(row.part, f"{row.parameters:,}", f"{row.trainable:,}", rate)
    return table
