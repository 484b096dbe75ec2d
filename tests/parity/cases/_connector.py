"""A connector beside the published one: loaded by the importer's names, run on the same patches."""

from collections.abc import Mapping
from math import isqrt

import torch
from torch import Tensor

from isthmus.axes import Patches
from isthmus.connectors import Connector, ConnectorConfig
from isthmus.keys import KeyMap
from tests.parity.golden import Computed, Golden


def grid_of(golden: Golden) -> tuple[int, int]:
    """The grid that the arguments name; else a square, or one row where there is none."""
    if grid := golden.arguments.get("grid"):
        return (grid[0], grid[1])
    patches = golden.inputs["features"].shape[1]
    side = isqrt(patches)
    return (side, side) if side * side == patches else (1, patches)


def built(
    golden: Golden,
    config: ConnectorConfig,
    names: KeyMap,
    *,
    d_vision: int,
    d_text: int,
    grid: tuple[int, int],
) -> Connector:
    """Returns our connector with all of the published weights, and none else."""
    connector = config.build(d_vision=d_vision, d_text=d_text, grid=grid).eval()
    weights = {name: value.clone() for name, value in names.to_ours(golden.weights).items()}
    own = connector.state_dict()
    shaped = {name: value.reshape(own[name].shape) for name, value in weights.items()}
    connector.load_state_dict(shaped)
    return connector


def tokens_of(
    golden: Golden, config: ConnectorConfig, names: KeyMap, *, output: str = "tokens"
) -> Computed:
    """Runs our connector on `inputs/features` and takes the gradients of its tokens."""
    features = golden.inputs["features"].clone().requires_grad_()
    expected = golden.outputs[output]
    connector = built(
        golden,
        config,
        names,
        d_vision=features.shape[-1],
        d_text=expected.shape[-1],
        grid=grid_of(golden),
    )
    tokens = connector(Patches(features=features, grid=grid_of(golden)))
    return Computed(
        {output: tokens.detach()},
        gradients(golden, tokens, connector, names, {"features": features}),
    )


def gradients(
    golden: Golden,
    primary: Tensor,
    module: torch.nn.Module,
    names: KeyMap,
    inputs: Mapping[str, Tensor],
) -> dict[str, Tensor | None]:
    """Returns the gradients of the primary output, under the published names and shapes."""
    (primary * golden.cotangent).sum().backward()
    ours = {n: p.grad for n, p in module.named_parameters() if p.grad is not None}
    theirs = names.to_theirs(ours)
    found: dict[str, Tensor | None] = {
        name: value.reshape(golden.weights[name].shape)
        for name, value in theirs.items()
        if name in golden.weights
    }
    return found | {f"inputs/{name}": value.grad for name, value in inputs.items()}
