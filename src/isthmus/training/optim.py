"""AdamW with a learning rate per part."""

from collections.abc import Sequence

import torch
from torch import nn
from torch.optim import AdamW, Optimizer

from isthmus.modeling.parts import Parts
from isthmus.training.freeze import trained_parameters
from isthmus.training.layer_decay import lr_factors
from isthmus.training.schedule import Schedule
from isthmus.training.stage import Part

PEAK = "peak_lr"
"""Key of a parameter group that keeps the peak of its learning rate."""


def build_optimizer(parts: Parts, trained: Sequence[Part], schedule: Schedule) -> Optimizer:
    """Returns AdamW over the trained parts; weights decay, norms and biases do not.

    Raises:
        ValueError: the learning rate of a part without layers is to fall from layer to layer.
    """
    groups = []
    for part in trained:
        factors = lr_factors(parts[part.name], part.layer_decay)
        alike: dict[tuple[float, bool], list[nn.Parameter]] = {}
        for parameter in trained_parameters(part, parts[part.name]):
            key = (factors[id(parameter)], parameter.ndim >= 2)
            alike.setdefault(key, []).append(parameter)
        for (factor, decays), chosen in sorted(
            alike.items(), key=lambda each: each[0], reverse=True
        ):
            lr, decay = part.lr * factor, schedule.weight_decay if decays else 0.0
            groups.append({"params": chosen, "lr": lr, PEAK: lr, "weight_decay": decay})
    # One kernel for all parameters: for small models, a loop over them costs more than the update.
    return AdamW(groups, betas=schedule.betas, eps=schedule.eps, fused=True)


def set_lr(optimizer: torch.optim.Optimizer, factor: float) -> float:
    """Sets every group to a share of its peak; returns the highest learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = group[PEAK] * factor
    return max(group["lr"] for group in optimizer.param_groups)
