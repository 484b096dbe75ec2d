"""Settings of Honeybee's checkpoints, as they were written in both of their forms."""

from typing import Any

import pytest
import torch

from isthmus.axes import Patches
from isthmus.connectors import ConnectorConfig
from isthmus.connectors.c_abstractor import CAbstractor
from isthmus.connectors.d_abstractor import DAbstractor
from isthmus.connectors.honeybee_resampler import HoneybeeResampler
from isthmus.connectors.linear import Linear
from isthmus.connectors.mlp import MLP
from isthmus.shipping.importers import honeybee


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"projector_type": "linear"}, Linear.Config()),
        ({"projector_type": "mlp", "depth": 6}, MLP.Config(depth=6, activation="silu")),
        ({"projector_type": "c-abs", "num_queries": 256}, CAbstractor.Config(num_queries=256)),
        (
            {"projector_type": "c-abs", "num_query_tokens": 144, "hidden_size": 512, "depth": 1},
            CAbstractor.Config(d_hidden=512, depth=1),
        ),
        (
            {"projector_type": "d-abs", "num_query_tokens": 144, "pooled_v_target": "tgt"},
            DAbstractor.Config(pooled="target", d_ffn=1024),
        ),
        (
            {"projector_type": "d-abs", "num_query_tokens": 9, "encoder_hidden_size": 768},
            DAbstractor.Config(num_queries=9, d_hidden=1024, d_ffn=1024),
        ),
        (
            {"projector_type": "resampler", "num_query_tokens": 64},
            HoneybeeResampler.Config(d_ffn=4096),
        ),
    ],
    ids=str,
)
def test_what_is_left_out_has_the_published_default(
    arguments: dict[str, Any], expected: ConnectorConfig
) -> None:
    assert honeybee.projector(arguments)[0] == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"projector_type": "q-former"}, "unknown projector 'q-former'"),
        ({"projector_type": "mlp", "pos_emb": True}, "mlp with pos_emb True has no connector"),
        ({"projector_type": "linear", "num_eos_tokens": 1}, "linear with num_eos_tokens 1 has no"),
        ({"projector_type": "c-abs"}, "lacks num_query_tokens"),
        (
            {"projector_type": "d-abs", "num_query_tokens": 4, "num_feature_levels": 2},
            "d-abs with num_feature_levels 2 has no connector",
        ),
        (
            {"projector_type": "resampler", "num_query_tokens": 4, "prenorm": True},
            "resampler with prenorm True has no connector",
        ),
        (
            {"projector_type": "d-abs", "num_query_tokens": 4, "prenorm": True},
            "d-abs with prenorm True has no connector",
        ),
        (
            {"projector_type": "d-abs", "num_query_tokens": 4, "pooled_v_target": "key"},
            "pooled_v_target is 'key'; expected one of query, tgt, none",
        ),
    ],
)
def test_what_ours_are_not_is_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        honeybee.projector(arguments)


@pytest.mark.parametrize(
    ("arguments", "number"),
    [
        ({"projector_type": "c-abs", "num_query_tokens": 144}, 83),
        ({"projector_type": "d-abs", "num_query_tokens": 144}, 161),
        ({"projector_type": "resampler", "num_query_tokens": 144}, 137),
        ({"projector_type": "linear"}, 2),
        ({"projector_type": "mlp"}, 4),
    ],
    ids=str,
)
def test_every_weight_has_a_published_name_and_finds_its_way_back(
    arguments: dict[str, Any], number: int
) -> None:
    config, names = honeybee.projector(arguments)
    with torch.device("meta"):
        ours = config.build(d_vision=1024, d_text=4096, grid=(16, 16)).state_dict()
    theirs = names.to_theirs(ours)
    assert len(theirs) == number
    assert names.to_ours(theirs).keys() == ours.keys()


@pytest.mark.parametrize(
    ("arguments", "positions"),
    [
        ({"projector_type": "c-abs", "depth": 1, "hidden_size": 16}, "pos_emb"),
        (
            {"projector_type": "d-abs", "decoder_layers": 1, "d_model": 16, "decoder_ffn_dim": 16},
            "v_pos_emb",
        ),
        (
            {
                "projector_type": "resampler",
                "num_hidden_layers": 1,
                "hidden_size": 16,
                "intermediate_size": 16,
                "pos_emb": True,
            },
            "pos_emb",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else value["projector_type"],
)
def test_the_position_of_the_class_token_in_old_checkpoints_is_dropped(
    arguments: dict[str, Any], positions: str
) -> None:
    settings = {**arguments, "encoder_hidden_size": 16, "num_queries": 4}
    config, names = honeybee.projector(settings)
    sizes = {"d_vision": 16, "d_text": 8, "grid": (4, 4)}
    ours = config.build(**sizes).eval()
    new = names.to_theirs(ours.state_dict())
    new[positions] = new[positions][None]
    assert new[positions].shape == (1, 16, 16)
    # One position more, in front.
    old = {**new, positions: torch.cat([torch.full((1, 1, 16), 7.0), new[positions]], dim=1)}
    patches = Patches(features=torch.randn(2, 16, 16), grid=(4, 4))
    for published in (old, new):
        weights = names.to_ours(honeybee.without_class_position(published))
        weights["positions.weight"] = weights["positions.weight"][0]
        again = config.build(**sizes).eval()
        again.load_state_dict(weights)
        assert torch.equal(again(patches), ours(patches))


def test_positions_of_the_published_sizes() -> None:
    for stored, kept in ((256, 256), (257, 256), (576, 576), (577, 576)):
        weights = {"v_pos_emb": torch.arange(float(stored)).expand(1, 2, -1).mT}
        (found,) = honeybee.without_class_position(weights).values()
        assert found.shape == (1, kept, 2)
        assert found[0, 0].tolist() == [float(stored - kept)] * 2
