"""The adapter of CogVLM and CogVLM2."""

from dataclasses import replace

import torch

from isthmus.shipping.importers import cogvlm
from tests.parity.cases._connector import tokens_of
from tests.parity.golden import Computed, Golden


def _adapter(golden: Golden) -> Computed:
    # The class token in front is dropped by the adapter, so its gradient is zero.
    features = golden.inputs["features"]
    patches = replace(golden, inputs={**golden.inputs, "features": features[:, 1:]})
    config = cogvlm.adapter(golden.arguments["config"], golden.weights)
    computed = tokens_of(patches, config, cogvlm.ADAPTER)
    gradient = computed.grads["inputs/features"]
    whole = torch.cat([torch.zeros_like(features[:, :1]), gradient], dim=1)
    return Computed(computed.outputs, {**computed.grads, "inputs/features": whole})


CASES = {"visual.EVA2CLIPModel (adapter part)": _adapter}
