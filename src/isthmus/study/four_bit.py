"""Linear layers of four bits in shapes: what bitsandbytes keeps of them, and what a step makes."""

from math import ceil
from typing import Any, final

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from isthmus.modeling.lora import lora_parameters
from isthmus.modeling.parts import ModelPart

_COMPUTED = torch.bfloat16
"""Number format of products, whatever that of the stage."""
_BLOCK = 64
"""Weights that share a scale, which has four bytes."""


def keep_in_four_bits(part: ModelPart) -> None:
    """Puts layers of four bits in the places of a language model's linear ones, but for its head.

    Their parameters are gone then: the part can be computed with, and no longer be counted.

    Args:
        part: without content; updates beside its layers stay as they are.
    """
    updates = {id(parameter) for parameter in lora_parameters(part)}
    for path, layer in list(part.named_modules()):
        number, _, name = path.partition(".")
        if not name or not isinstance(layer, nn.Linear | Conv1D) or id(layer.weight) in updates:
            continue
        root = part.roots[int(number)]
        whole = getattr(root, "_keep_in_fp32_modules", None) or ()  # such as T5's `wo`
        if name.removesuffix(".base_layer").rpartition(".")[2] not in whole:
            root.set_submodule(name, _FourBit(layer))


@final
class _FourBit(nn.Module):
    """A frozen linear layer: packed weights with a scale for each block, and its bias."""

    def __init__(self, layer: nn.Linear | Conv1D) -> None:
        super().__init__()
        weight = layer.weight.mT if isinstance(layer, Conv1D) else layer.weight
        self.shape = weight.shape
        size = ceil(weight.numel() / 2) + 4 * ceil(weight.numel() / _BLOCK)
        self.register_buffer("packed", torch.empty(size, dtype=torch.uint8, device=weight.device))
        self.bias = layer.bias

    def forward(self, states: Tensor) -> Tensor:
        product: Tensor = _Product.apply(states.to(_COMPUTED), self.shape)
        if self.bias is not None:
            product = product + self.bias.to(_COMPUTED)
        return product.to(states.dtype)


@final
class _Product(torch.autograd.Function):
    """A product with weights that are unpacked for it, forward and backward, and not kept."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, shape: torch.Size) -> Tensor:
        ctx.shape = shape
        return states @ _unpacked(states, shape).mT

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient @ _unpacked(gradient, ctx.shape), None


def _unpacked(like: Tensor, shape: torch.Size) -> Tensor:
    """Returns weights in the format of a product, by way of that in which they were loaded."""
    return like.new_empty(shape, dtype=torch.float32).to(like.dtype)
