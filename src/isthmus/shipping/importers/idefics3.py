"""Idefics3 and SmolVLM, as transformers has them: their connector, which is one and the same.

Papers: arXiv 2408.12637 and 2504.05299.
"""

from typing import Any

from isthmus.connectors import ConnectorConfig
from isthmus.connectors.pixel_shuffle import PixelShuffle
from isthmus.keys import KeyMap

CONNECTOR = KeyMap((("modality_projection.proj.weight", "projection.weight"),))


def connector(scale_factor: Any) -> ConnectorConfig:
    """Returns the connector of a `scale_factor`."""
    return PixelShuffle.Config.from_dict({"factor": scale_factor})
