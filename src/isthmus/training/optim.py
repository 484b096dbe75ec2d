"""AdamW with a learning rate per part."""

from collections.abc import Sequence

import torch
from torch.optim import AdamW, Optimizer

from isthmus.modeling.parts import Parts
from isthmus.training.freeze import trained_parameters
from isthmus.training.schedule import Schedule
from isthmus.training.stage import Part

PEAK = "peak_lr"
"""Key of a parameter group that keeps the peak of its learning rate."""


def build_optimizer(parts: Parts, trained: Sequence[Part], schedule: Schedule) -> Optimizer:
    """Returns AdamW over the trained parts; weights decay, norms and biases do not."""
    groups = []
    for part in trained:
        parameters = trained_parameters(part, parts[part.name])
        for decays in (True, False):
            chosen = [p for p in parameters if (p.ndim >= 2) == decays]
            decay = schedule.weight_decay if decays else 0.0
            if chosen:
                groups.append(
                    {"params": chosen, "lr": part.lr, PEAK: part.lr, "weight_decay": decay}
                )
    # One kernel for all parameters: for small models, a loop over them costs more than the update.
    return AdamW(groups, betas=schedule.betas, fused=True)


def set_lr(optimizer: torch.optim.Optimizer, factor: float) -> float:
    """Sets every group to a share of its peak; returns the highest learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = group[PEAK] * factor
    return max(group["lr"] for group in optimizer.param_groups)
