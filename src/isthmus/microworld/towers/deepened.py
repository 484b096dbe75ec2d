"""A stack of layers made deeper, and still the same function.

Paper: LLaMA Pro, arXiv 2401.02415, section 3.2.
"""

from collections.abc import Sequence
from copy import deepcopy

from torch import nn


def deepened(layers: nn.ModuleList, depth: int, *, outputs: Sequence[str]) -> nn.ModuleList:
    """Parts the layers into groups of one size; a silent copy of its last stands behind each.

    Only the copies learn, and each adds nothing until it has learnt.

    Args:
        layers: Layers that add to what they are given.
        depth: How many there shall be.
        outputs: In each layer, the projections by which it adds.

    Raises:
        ValueError: for layers that cannot be parted so.
    """
    layers.requires_grad_(False)
    old = list(layers)
    new = depth - len(old)
    if new < 1 or len(old) % new:
        raise ValueError(
            f"depth is {depth}; expected as many more than the {len(old)} layers of the model as "
            "part these evenly"
        )
    size = len(old) // new
    deeper: list[nn.Module] = []
    for group in range(0, len(old), size):
        deeper += [*old[group : group + size], _silent(old[group + size - 1], outputs)]
    return nn.ModuleList(deeper)


def _silent(layer: nn.Module, outputs: Sequence[str]) -> nn.Module:
    """A copy that learns, and adds nothing yet."""
    copy = deepcopy(layer).requires_grad_(True)
    for output in outputs:
        for weight in copy.get_submodule(output).parameters():
            nn.init.zeros_(weight)
    return copy
