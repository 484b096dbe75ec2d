"""Weights by role: the rows of visual tokens go through other weights than those of the text.

The rows are told apart once per forward pass, by their numbers. How many are visual follows from
shapes alone, so nothing waits for the device.
"""

import copy
from typing import Any, Literal, final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from isthmus.fusion._layers import Route, RoutedLayer, fronted

Weights = Literal["shared", "copied", "random", "low_rank", "absent"]
"""What visual tokens go through: the language model's own weights, a copy of them that learns,
fresh ones, its own and a low-rank update, or nothing (zeros come out)."""


@final
class Roles(Route):
    """Which rows of a batch are visual, which are text."""

    def __init__(self, visual: Bool[Tensor, "batch seq"], num_visual: int) -> None:
        """Sorts the rows.

        Args:
            visual: true at the visual tokens.
            num_visual: how many of them there are, known without asking the device.
        """
        order = torch.argsort(visual.flatten().to(torch.uint8), stable=True)
        self.num_rows = order.shape[0]
        self.text: Int[Tensor, " rows"] = order[: self.num_rows - num_visual]
        self.visual: Int[Tensor, " rows"] = order[self.num_rows - num_visual :]
        self.span = _span(visual) if num_visual else None


def _span(visual: Bool[Tensor, "batch seq"]) -> tuple[int, int] | None:
    """Returns the columns that are visual in all samples alike, if that is how they lie.

    Asked on the CPU only, where asking costs nothing.
    """
    if visual.device.type != "cpu" or torch.compiler.is_compiling():
        return None
    columns = visual[0].nonzero()[:, 0]
    if not len(columns):
        return None
    first, last = int(columns[0]), int(columns[-1]) + 1
    alike = len(columns) == last - first and bool((visual == visual[0]).all())
    return (first, last) if alike else None


class Current:
    """The roles that the modules of one layer go by while it runs."""

    roles: Roles | None = None


class RoleLayer(RoutedLayer):
    """A layer whose modules go by role while it runs."""

    current: Current

    def fused(self, route: Roles, hidden_states: Any, *args: Any, **kwargs: Any) -> Any:
        """Runs the layer with the roles at hand, in the recomputation of a backward pass too."""
        self.current.roles = route
        try:
            return self.bare(hidden_states, *args, **kwargs)
        finally:
            self.current.roles = None


class ByRole:
    """What is put in front of the class of a linear map or a norm: other weights by role."""

    current: Current
    experts: "Experts"
    key: str

    def forward(self, states: Tensor) -> Tensor:
        """Maps each row by the weights of its role."""
        roles = self.current.roles
        if roles is None:
            return super().forward(states)  # type: ignore[misc]
        expert = self.experts.modules_of_layer[self.key]
        if roles.span is not None and states.ndim > 2 and not isinstance(expert, LowRank):
            first, last = roles.span
            pieces = [states[:, :first], states[:, last:]]
            before, after = (super(ByRole, self).forward(piece) for piece in pieces)  # type: ignore[misc]
            visual = expert(states[:, first:last]).to(before.dtype)
            return torch.cat([before, visual, after], dim=1)
        lead = 1 if states.shape[0] == roles.num_rows else 2
        rows = states.reshape(roles.num_rows, *states.shape[lead:])
        seen = expert(rows.index_select(0, roles.visual))
        if isinstance(expert, LowRank):
            mapped = super().forward(rows)  # type: ignore[misc]
            mapped = mapped.index_add(0, roles.visual, seen.to(mapped.dtype))
        else:
            read = super().forward(rows.index_select(0, roles.text))  # type: ignore[misc]
            mapped = read.new_empty(roles.num_rows, *read.shape[1:])
            mapped.index_copy_(0, roles.text, read)
            mapped.index_copy_(0, roles.visual, seen.to(read.dtype))
        return mapped.reshape(*states.shape[:lead], *mapped.shape[1:])


class Experts:
    """Where the modules of a layer find their experts.

    A reference that is no submodule: the experts lie beside the modules that ask them, not below,
    so that tools which replace linear layers meet each one once.
    """

    def __init__(self, modules_of_layer: nn.ModuleDict) -> None:
        """Takes the experts of a layer, by the path of the module that each stands for."""
        self.modules_of_layer = modules_of_layer


@final
class LowRank(nn.Module):
    """A low-rank map, which is zero at the start.

    Paper: partial LoRA of InternLM-XComposer2, arXiv 2401.16420, section 3.2.
    """

    def __init__(self, d_in: int, d_out: int, rank: int) -> None:
        """Builds the two matrices."""
        super().__init__()
        self.down = nn.Linear(d_in, rank, bias=False)
        self.up = nn.Linear(rank, d_out, bias=False)
        nn.init.zeros_(self.up.weight)

    def forward(self, states: Float[Tensor, "*rows d_in"]) -> Float[Tensor, "*rows d_out"]:
        """Maps rows."""
        return self.up(self.down(states))


@final
class Nothing(nn.Module):
    """Gives zeros of the width that another module gives."""

    def __init__(self, width: int) -> None:
        """Takes the width of what comes out."""
        super().__init__()
        self.width = width

    def forward(self, states: Float[Tensor, "*rows d_in"]) -> Float[Tensor, "*rows d_out"]:
        """Returns zeros."""
        return states.new_zeros(*states.shape[:-1], self.width)


def expert_of(module: nn.Module, weights: Weights, *, rank: int, std: float) -> nn.Module:
    """Returns what visual tokens go through in place of a module.

    Args:
        module: linear map or norm of a language model.
        weights: how its expert begins; not `shared`.
        rank: of a low-rank one.
        std: standard deviation of fresh weights.
    """
    is_linear = isinstance(module, nn.Linear | Conv1D)
    if weights == "absent":
        return Nothing(widths_of(module)[1]) if is_linear else nn.Identity()
    if weights == "low_rank":
        return LowRank(*widths_of(module), rank).to(next(module.parameters()))
    expert = copy.deepcopy(module)
    expert.requires_grad_(True)
    if weights == "random":
        for name, parameter in expert.named_parameters():
            if is_linear and name == "weight":
                nn.init.normal_(parameter, std=std)
            else:
                nn.init.constant_(parameter, float(name == "weight"))
    return expert


def add_bias(expert: nn.Module) -> None:
    """Gives an expert a bias of zeros, if it has none."""
    if isinstance(expert, nn.Linear) and expert.bias is None:
        expert.bias = nn.Parameter(expert.weight.new_zeros(expert.out_features))


def widths_of(module: nn.Module) -> tuple[int, int]:
    """Returns the widths of what goes into a linear map and comes out of it."""
    if isinstance(module, nn.Linear):
        return module.in_features, module.out_features
    assert isinstance(module, Conv1D)
    return module.nx, module.nf


def go_by_role(module: nn.Module, *, current: Current, experts: Experts, key: str) -> None:
    """Exchanges the class of a module for one that goes by role."""
    module.__class__ = fronted(type(module), ByRole)
    module.current, module.experts, module.key = current, experts, key  # type: ignore[assignment]
