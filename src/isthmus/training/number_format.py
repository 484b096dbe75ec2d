"""Number formats of the computation, and what a device makes of them."""

from dataclasses import replace

import torch

from isthmus.training.stage import Recipe


def has_bfloat16(device: torch.device) -> bool:
    """Returns whether a device computes in bfloat16 itself.

    A CPU without such instructions does it in software, tens of times slower than in float32.
    """
    return device.type != "cpu" or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def for_this_machine(recipe: Recipe) -> Recipe:
    """Returns a recipe in float32 where no device here computes in bfloat16 itself."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if has_bfloat16(device):
        return recipe
    stages = tuple(replace(stage, dtype="float32") for stage in recipe.stages)
    return replace(recipe, stages=stages)
