"""CogVLM and CogVLM2, as their remote code on the hub lays them out: the adapter.

Paper: arXiv 2311.03079.
"""

from collections.abc import Collection, Mapping
from typing import Any

from isthmus.connectors.glu import GLU
from isthmus.keys import KeyMap

ADAPTER = KeyMap(
    (
        ("boi", "boi"),
        ("eoi", "eoi"),
        ("conv.*", "convolution.*"),
        ("linear_proj.linear_proj.*", "projection.*"),
        ("linear_proj.norm1.*", "norm.*"),
        ("linear_proj.gate_proj.*", "gate.*"),
        ("linear_proj.dense_h_to_4h.*", "up.*"),
        ("linear_proj.dense_4h_to_h.*", "down.*"),
    )
)


def adapter(config: Mapping[str, Any], names: Collection[str]) -> GLU.Config:
    """Returns the connector of a model's configuration.

    Args:
        config: of the whole model.
        names: of the adapter's weights; no setting tells CogVLM2, which has a convolution.
    """
    return GLU.Config(d_hidden=config["intermediate_size"], downsample="conv.weight" in names)
