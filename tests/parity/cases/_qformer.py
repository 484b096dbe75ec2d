"""A Q-Former beside the published one, whose class holds but a part of what our connector does."""

import torch
from torch import Tensor

from isthmus.connectors.qformer import QFormer
from isthmus.keys import KeyMap
from tests.parity.golden import Golden


def loaded(
    golden: Golden, config: QFormer.Config, names: KeyMap, *, absent: set[str], d_vision: int
) -> QFormer:
    """Returns our connector with all of the published weights.

    Args:
        golden: the file.
        config: the connector.
        names: of the weights.
        absent: parts of the connector that the published class does not have.
        d_vision: width of a patch.
    """
    connector = QFormer(config, d_vision=d_vision, d_text=1, grid=(1, 1)).eval()
    return filled(connector, golden, names, absent)


def filled(connector: QFormer, golden: Golden, names: KeyMap, absent: set[str]) -> QFormer:
    """Loads the published weights, and sees to it that nothing else is missing."""
    own = connector.state_dict()
    weights = {
        name: value.clone().reshape(own[name].shape)
        for name, value in names.to_ours(golden.weights).items()
    }
    missing = connector.load_state_dict(weights, strict=False).missing_keys
    assert {name.split(".")[0] for name in missing} == absent
    return connector


def joint(queries: int, text: Tensor) -> Tensor:
    """All rows see all queries and the words of the text."""
    seen = torch.cat([text.new_ones(len(text), queries), text], dim=1)
    return seen.bool()[:, None]
