"""A resampler beside the published one: its patches may be clips, or padded."""

from collections.abc import Callable

from torch import Tensor

from isthmus.axes import Patches
from isthmus.connectors import ConnectorConfig
from isthmus.keys import KeyMap
from tests.parity.cases._connector import built, gradients
from tests.parity.golden import Computed, Golden


def resampled(
    golden: Golden, config: ConnectorConfig, names: KeyMap, see: Callable[[Tensor], Patches]
) -> Computed:
    """Runs our connector on what `see` makes of `inputs/features`, with all gradients."""
    features = golden.inputs["features"].clone().requires_grad_()
    expected = golden.outputs["tokens"]
    patches = see(features)
    connector = built(
        golden,
        config,
        names,
        d_vision=features.shape[-1],
        d_text=expected.shape[-1],
        grid=patches.grid,
    )
    tokens = connector(patches).reshape(expected.shape)
    return Computed(
        {"tokens": tokens.detach()},
        gradients(golden, tokens, connector, names, {"features": features}),
    )


def in_a_row(features: Tensor, mask: Tensor | None = None) -> Patches:
    """One row of patches per image: a resampler does not mind how they lie."""
    return Patches(features=features, grid=(1, features.shape[1]), mask=mask)
