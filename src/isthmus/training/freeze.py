"""What learns and what stays: freezing by part, the modes that follow from it, and the table."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, final

from rich.table import Table
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers.modeling_layers import GradientCheckpointingLayer

from isthmus.keys import fits
from isthmus.modeling.lora import lora_parameters
from isthmus.modeling.parts import ModelPart, Parts
from isthmus.training.stage import Part, PartName


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


def trained_parameters(part: Part, own: ModelPart) -> list[nn.Parameter]:
    """Returns what learns of a part: all of it, some of it, or its low-rank updates.

    Raises:
        ValueError: none of its weights has a name that is asked for.
    """
    if part.lora:
        return lora_parameters(own)
    if not part.only:
        return own.parameters()
    named = own.named_parameters()
    chosen = [parameter for name, parameter in named.items() if fits(part.only, name)]
    if not chosen:
        raise ValueError(
            f"no weight of the part {part.name!r} is called {' or '.join(part.only)}; it has "
            f"{', '.join(sorted(named)[:8])} and so on"
        )
    return chosen


def learned_values(parts: Parts, trained: Iterable[Part]) -> list[Tensor]:
    """Returns what training some parts changes: parameters that learn, and running statistics."""
    values: dict[int, Tensor] = {}
    for part in trained:
        own = parts[part.name]
        found: list[Tensor] = [*trained_parameters(part, own)]
        if not part.lora and not part.only:
            found += own.buffers()
        values.update((id(value), value) for value in found)
    return list(values.values())


def changed_values(
    parts: Parts, trained: Iterable[Part], heirs: Iterable[PartName]
) -> list[Tensor]:
    """Returns what a checkpoint holds: what was trained, and the whole of parts that took over.

    Args:
        parts: of the model.
        trained: by this stage and those before it.
        heirs: parts with weights of another model.
    """
    return learned_values(parts, [*trained, *(Part(name=name, lr=0.0) for name in heirs)])


def freeze_and_thaw(parts: Parts, trained: Sequence[Part]) -> list[PartRow]:
    """Lets what is trained learn and freezes the rest; returns the table's rows.

    Low-rank updates are put in beforehand (see `add_lora`).

    Raises:
        ValueError: a trained part is not in the model, or has no parameters.
    """
    named: dict[str, Part] = {part.name: part for part in trained}
    for name in named:
        if name not in parts:
            raise ValueError(f"the part {name!r} is not in the model; it has {', '.join(parts)}")
        if not parts[name].parameters():
            raise ValueError(f"the part {name!r} has no parameters to train; leave it out")
    if "objectives" in parts and "objectives" not in named:
        raise ValueError(
            "the objectives own parameters that no part trains; add a part named 'objectives' "
            "with their learning rate"
        )
    rows = []
    for name, own in parts.items():
        parameters, part = own.parameters(), named.get(name)
        learning = trained_parameters(part, own) if part else []
        if part and not learning:
            raise ValueError(f"the part {name!r} has nothing that low-rank updates can be put on")
        for parameter in parameters:
            parameter.requires_grad_(False)
        for parameter in learning:
            parameter.requires_grad_(True)
        rows.append(
            PartRow(
                part=name,
                parameters=sum(parameter.numel() for parameter in parameters),
                trainable=sum(parameter.numel() for parameter in learning),
                lr=part.lr if part else 0.0,
            )
        )
    return rows


def set_modes(root: nn.Module, parts: Parts, trained: Sequence[Part]) -> None:
    """Puts a model into training mode, but for frozen parts: no dropout, no running statistics."""
    names = {part.name for part in trained}
    root.train()
    for name, own in parts.items():
        own.train(name in names)


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
