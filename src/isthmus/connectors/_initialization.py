"""Fresh weights as BERT draws them, and most since: small normal matrices, zero biases."""

from torch import nn

STD = 0.02
"""Standard deviation of fresh matrices, kernels and learned tokens."""


def draw_matrices(module: nn.Module, std: float = STD) -> None:
    """Draws every linear map and convolution of a module; the rest is left as it is."""
    for part in module.modules():
        if isinstance(part, nn.Linear | nn.Conv2d):
            nn.init.normal_(part.weight, std=std)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
