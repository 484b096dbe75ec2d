"""LLaVA, as transformers has it: its projector.

Paper: LLaVA-1.5, arXiv 2310.03744.
"""

from typing import Any

from isthmus.connectors import ConnectorConfig
from isthmus.connectors.mlp import MLP
from isthmus.keys import KeyMap

PROJECTOR = KeyMap((("linear_1.*", "layers.linear_1.*"), ("linear_2.*", "layers.linear_2.*")))


def projector(activation: Any) -> ConnectorConfig:
    """Returns the connector of a `projector_hidden_act`.

    Raises:
        ValueError: there is no such activation here.
    """
    return MLP.Config.from_dict({"activation": activation})
