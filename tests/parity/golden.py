"""Golden files: what published code computed, and how near ours has to come."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import Tensor

FOLDER = Path(__file__).parents[1] / "golden"

# The reference's own distance from float64 is at most 4e-6.
TOLERANCE = 1e-5


@dataclass(frozen=True)
class Golden:
    """What one file holds."""

    about: Mapping[str, Any]
    weights: dict[str, Tensor]
    inputs: dict[str, Tensor]
    outputs: dict[str, Tensor]
    grads: dict[str, Tensor]

    @property
    def arguments(self) -> dict[str, Any]:
        """What the published class was built with."""
        return self.about["args"]

    @property
    def cotangent(self) -> Tensor:
        """What the gradients are those of: the sum of the primary output times this."""
        return self.inputs["cotangent"]


@dataclass(frozen=True)
class Computed:
    """What ours gives for the same weights and inputs."""

    outputs: dict[str, Tensor]
    grads: dict[str, Tensor | None] = field(default_factory=dict)
    """By the published names; those of inputs after `inputs/`."""


def read(file: Path) -> Golden:
    """Reads a golden file."""
    groups: dict[str, dict[str, Tensor]] = {}
    with safe_open(file, "pt") as tensors:
        about = json.loads(tensors.metadata()["golden"])
        for key in tensors.keys():  # noqa: SIM118 (not a mapping)
            group, _, rest = key.partition("/")
            groups.setdefault(group, {})[rest] = tensors.get_tensor(key)
    return Golden(about, *(groups.get(n, {}) for n in ("weights", "inputs", "outputs", "grads")))


@dataclass(frozen=True)
class Difference:
    """How far an output or a gradient is from the published one."""

    name: str
    largest: float
    """Largest absolute difference; infinite where ours lacks it or has another shape."""
    allowed: float

    @property
    def is_small(self) -> bool:
        """Whether it is within what is allowed; a not-a-number is not."""
        return self.largest <= self.allowed


def differences(golden: Golden, computed: Computed) -> list[Difference]:
    """Returns the difference of each output and gradient."""
    found = []
    for name, expected in golden.outputs.items():
        allowed = TOLERANCE if expected.is_floating_point() else 0.0
        largest = _largest(expected, computed.outputs.get(name))
        found.append(Difference(f"outputs/{name}", largest, allowed))
    for name, expected in golden.grads.items():
        allowed = TOLERANCE * max(1.0, expected.abs().max().item())
        largest = _largest(expected, computed.grads.get(name))
        found.append(Difference(f"grads/{name}", largest, allowed))
    return found


def _largest(expected: Tensor, found: Tensor | None) -> float:
    if found is None or found.shape != expected.shape:
        return float("inf")
    return (found.double() - expected.double()).abs().max().item()
