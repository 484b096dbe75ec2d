"""Honeybee's connectors: as large as the published ones, drawn as those come to be, compilable."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from isthmus import connectors
from isthmus.axes import Patches
from isthmus.connectors import ConnectorConfig
from isthmus.connectors.c_abstractor import CAbstractor
from isthmus.connectors.d_abstractor import DAbstractor
from isthmus.connectors.honeybee_resampler import HoneybeeResampler
from isthmus.connectors.linear import Linear
from isthmus.connectors.mlp import MLP

REPOSITORY = Path(__file__).parents[2]
D_CLIP = 1024
# The language model's width, and the grid of patches, of the 7B and the 13B models.
SIZE_7B = (4096, (16, 16))
SIZE_13B = (5120, (24, 24))
PERCEPTRON = MLP.Config(activation="silu")


@pytest.mark.parametrize(
    ("config", "size", "expected"),
    [
        (Linear.Config(), SIZE_7B, 4_198_400),
        (Linear.Config(), SIZE_13B, 5_248_000),
        (PERCEPTRON, SIZE_7B, 20_979_712),
        (PERCEPTRON, SIZE_13B, 31_467_520),
        (HoneybeeResampler.Config(num_queries=144), SIZE_7B, 106_224_640),
        (HoneybeeResampler.Config(num_queries=256), SIZE_7B, 106_339_328),
        (HoneybeeResampler.Config(num_queries=256), SIZE_13B, 107_388_928),
        (HoneybeeResampler.Config(num_queries=576), SIZE_13B, 107_716_608),
        (CAbstractor.Config(num_queries=144), SIZE_7B, 37_070_336),
        (CAbstractor.Config(num_queries=256), SIZE_7B, 37_070_336),
        (CAbstractor.Config(num_queries=256), SIZE_13B, 47_885_824),
        (CAbstractor.Config(num_queries=576), SIZE_13B, 47_885_824),
        (DAbstractor.Config(num_queries=144), SIZE_7B, 55_616_352),
        (DAbstractor.Config(num_queries=256), SIZE_7B, 55_731_264),
        (DAbstractor.Config(num_queries=256), SIZE_13B, 57_108_544),
        (DAbstractor.Config(num_queries=576), SIZE_13B, 57_436_864),
    ],
    ids=str,
)
def test_parameters_are_as_many_as_the_published_ones(
    config: ConnectorConfig, size: tuple[int, tuple[int, int]], expected: int
) -> None:
    d_text, grid = size
    with torch.device("meta"):
        connector = config.build(d_vision=D_CLIP, d_text=d_text, grid=grid)
    assert sum(parameter.numel() for parameter in connector.parameters()) == expected


SMALL = [
    CAbstractor.Config(num_queries=16, depth=1, d_hidden=192, num_eos_tokens=2),
    DAbstractor.Config(num_queries=16, depth=1, d_hidden=192, num_eos_tokens=2, pooled="none"),
    HoneybeeResampler.Config(num_queries=16, depth=1, d_hidden=192, num_eos_tokens=2),
]
every_small = pytest.mark.parametrize("config", SMALL, ids=lambda config: config.kind)


@every_small
def test_fresh_weights_are_small_and_normal_and_biases_are_zero(config: ConnectorConfig) -> None:
    connector = config.build(d_vision=128, d_text=160, grid=(8, 8))
    norms = {
        f"{name}.{part}"
        for name, module in connector.named_modules()
        if isinstance(module, nn.LayerNorm)
        for part in ("weight", "bias")
    }
    for name, parameter in connector.named_parameters():
        if name in norms:
            expected = 1.0 if name.endswith("weight") else 0.0
            assert (parameter == expected).all(), name
        elif parameter.ndim == 1:
            assert (parameter == 0).all(), name
        elif name != "reference_points":
            # The spread of n numbers is known to one part in sqrt(2 n); this is four times that.
            allowed = 4 * (2 * parameter.numel()) ** -0.5
            assert abs(parameter.std().item() / 0.02 - 1) < allowed, name


@every_small
def test_eos_tokens_are_last_and_the_same_for_every_image(config: ConnectorConfig) -> None:
    connector = config.build(d_vision=128, d_text=160, grid=(8, 8)).eval()
    tokens = connector(Patches(features=torch.randn(2, 64, 128), grid=(8, 8)))
    assert tokens.shape == (2, 18, 160)
    assert torch.equal(tokens[0, 16:], tokens[1, 16:])
    assert (tokens[0, :16] != tokens[1, :16]).any(dim=-1).all()


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        ("c_abstractor", {"num_queries": 12}, "num_queries is 12; expected the square of 1 or"),
        ("c_abstractor", {"num_queries": 0}, "num_queries is 0; expected the square of 1 or"),
        ("c_abstractor", {"num_queries": 6, "query_grid": [2, 4]}, "is 2 x 4; expected as many"),
        ("c_abstractor", {"num_queries": 6, "query_grid": [-2, -3]}, "is -2 x -3; expected as"),
        ("c_abstractor", {"depth": -1}, "depth is -1; expected 0 or more"),
        ("c_abstractor", {"readout_depth": 0}, "readout_depth is 0; expected 1 or more"),
        ("c_abstractor", {"num_eos_tokens": -1}, "num_eos_tokens is -1; expected 0 or more"),
        ("c_abstractor", {"depth": 0, "d_hidden": 8}, "d_hidden is 8 at depth 0; expected 1 or"),
        ("d_abstractor", {"num_queries": 12}, "num_queries is 12; expected the square of 1 or"),
        ("d_abstractor", {"num_points": 0}, "num_points is 0; expected 1 or more"),
        ("d_abstractor", {"d_ffn": 0}, "d_ffn is 0; expected 1 or more"),
        ("d_abstractor", {"dropout": 1.0}, "dropout is 1.0; expected 0 or more"),
        ("d_abstractor", {"num_eos_tokens": -1}, "num_eos_tokens is -1; expected 0 or more"),
        ("honeybee_resampler", {"num_queries": 0}, "num_queries is 0; expected 1 or more"),
        ("honeybee_resampler", {"d_hidden": 100}, "d_hidden is 100; expected a multiple of num_h"),
        ("honeybee_resampler", {"attention_dropout": -0.1}, "is -0.1; expected 0 or more"),
        ("honeybee_resampler", {"num_eos_tokens": -1}, "num_eos_tokens is -1; expected 0 or"),
    ],
)
def test_a_wrong_setting_is_named(kind: str, changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=rf"^{kind}\..*{message}"):
        connectors.from_dict({"kind": kind, **changes})


def test_dropout_acts_in_training_only() -> None:
    patches = Patches(features=torch.randn(1, 64, 128), grid=(8, 8))
    for config in SMALL[1:]:
        connector = config.build(d_vision=128, d_text=160, grid=(8, 8))
        assert not torch.equal(connector(patches), connector(patches))
        connector.eval()
        assert torch.equal(connector(patches), connector(patches))


COMPILED = """
import torch
from isthmus.axes import Patches
from isthmus.connectors import from_dict

torch.manual_seed(0)
for settings in (
    {"kind": "c_abstractor", "num_queries": 6, "query_grid": [2, 3], "depth": 1},
    {"kind": "d_abstractor", "num_queries": 4, "depth": 1, "num_heads": 2, "num_levels": 2},
    {"kind": "honeybee_resampler", "num_queries": 5, "depth": 1, "d_hidden": 16, "positions": True},
):
    connector = from_dict(settings).build(d_vision=8, d_text=20, grid=(4, 6)).eval()
    compiled = torch.compile(connector, fullgraph=True, backend="eager")
    patches = Patches(features=torch.randn(2, 24, 8), grid=(4, 6))
    torch.testing.assert_close(compiled(patches), connector(patches))
"""


@pytest.mark.slow
def test_they_compile_in_one_graph() -> None:
    # In a process of its own: the tests' shape checks stand in the compiler's way.
    command = [sys.executable, "-c", COMPILED]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
