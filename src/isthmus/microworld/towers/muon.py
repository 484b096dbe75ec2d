"""Muon, with its iteration in the number format that the machine multiplies fast."""

import math
from collections.abc import Iterable
from typing import final

import torch
from torch import Tensor, nn

_COEFFICIENTS, _ITERATIONS = (3.4445, -4.7750, 2.0315), 5
_MOMENTUM, _LEAST_NORM = 0.95, 1e-7


@final
class Muon(torch.optim.Optimizer):
    """Steps of one size in every direction of a matrix: its momentum, made nearly orthogonal.

    Paper: https://kellerjordan.github.io/posts/muon/; the step is as large as one of AdamW, by
        2502.16982, section 2.2.
    Differs: nothing in bfloat16 from `torch.optim.Muon`, which knows no other format: a CPU without
        bfloat16 spends half of a small model's step on it.
    """

    def __init__(
        self,
        matrices: Iterable[nn.Parameter],
        *,
        lr: float,
        weight_decay: float,
        precision: torch.dtype,
    ) -> None:
        super().__init__(matrices, {"lr": lr, "weight_decay": weight_decay})
        self._precision = precision

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Changes every matrix that has a gradient."""
        for group in self.param_groups:
            for matrix in group["params"]:
                if matrix.grad is not None:
                    matrix.mul_(1 - group["lr"] * group["weight_decay"])
                    size = 0.2 * math.sqrt(max(matrix.shape))
                    ahead = self._ahead(matrix, matrix.grad).to(self._precision)
                    matrix.add_(_orthogonal(ahead), alpha=-group["lr"] * size)

    def _ahead(self, matrix: nn.Parameter, gradient: Tensor) -> Tensor:
        """Takes the gradient into the momentum; returns where this leads, as Nesterov does."""
        state = self.state[matrix]
        if not state:
            state["momentum_buffer"] = torch.zeros_like(matrix)
        momentum: Tensor = state["momentum_buffer"].lerp_(gradient, 1 - _MOMENTUM)
        return gradient.lerp(momentum, _MOMENTUM)


def _orthogonal(matrix: Tensor) -> Tensor:
    """Brings all singular values near one, by Newton and Schulz."""
    tall = matrix.shape[0] > matrix.shape[1]
    wide = matrix.T if tall else matrix
    wide = wide / wide.norm().clamp(min=_LEAST_NORM)
    a, b, c = _COEFFICIENTS
    for _ in range(_ITERATIONS):
        gram = wide @ wide.T
        wide = torch.addmm(wide, torch.addmm(gram, gram, gram, beta=b, alpha=c), wide, beta=a)
    return wide.T if tall else wide
