"""Reads a golden file: what published code computed."""

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

FOLDER = Path(__file__).parent / "golden"

# The reference's own distance from float64 is at most 4e-6.
OUTPUT_TOLERANCE = 1e-5


@dataclass(frozen=True)
class Golden:
    weights: dict[str, Tensor]
    inputs: dict[str, Tensor]
    outputs: dict[str, Tensor]
    grads: dict[str, Tensor]


def read(name: str) -> Golden:
    tensors = load_file(FOLDER / f"{name}.safetensors")
    groups: dict[str, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        group, _, rest = key.partition("/")
        groups.setdefault(group, {})[rest] = value
    return Golden(**groups)


def assert_gradients(expected: dict[str, Tensor], found: dict[str, Tensor | None]) -> None:
    """Compares gradients, each within 1e-5 of its largest value."""
    assert expected
    for name, gradient in expected.items():
        ours = found[name]
        assert ours is not None, name
        tolerance = OUTPUT_TOLERANCE * max(1.0, gradient.abs().max().item())
        torch.testing.assert_close(ours, gradient, atol=tolerance, rtol=0, msg=name)
