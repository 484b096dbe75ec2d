"""Prismatic VLMs (TRI-ML/prismatic-vlms): their projectors.

Paper: arXiv 2402.07865.
"""

from collections.abc import Mapping
from typing import Any

from isthmus.connectors import ConnectorConfig
from isthmus.connectors.linear import Linear
from isthmus.connectors.mlp import MLP
from isthmus.keys import KeyMap

LINEAR = KeyMap((("projector.*", "projection.*"),))
PERCEPTRON = KeyMap(
    (
        ("projector.0.*", "layers.linear_1.*"),
        ("projector.2.*", "layers.linear_2.*"),
        ("projector.4.*", "layers.linear_3.*"),
    )
)


def projector(arguments: Mapping[str, Any]) -> tuple[ConnectorConfig, KeyMap]:
    """Returns the connector of a projector's arguments, and the names of its weights.

    Raises:
        ValueError: there is no such projector.
    """
    match arguments.get("mlp_type", "linear"):
        case "linear":
            return Linear.Config(), LINEAR
        case "gelu-mlp":
            return MLP.Config(depth=2), PERCEPTRON
        case "fused-gelu-mlp":
            return MLP.Config(depth=3, patch_multiplier=4), PERCEPTRON
        case other:
            raise ValueError(f"unknown projector {other!r} of Prismatic VLMs")
