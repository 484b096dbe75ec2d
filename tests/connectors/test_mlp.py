"""Perceptrons are as large as the published ones, and one whose width is for nothing is refused."""

import pytest
import torch

from isthmus.connectors.mlp import MLP

FUSED = MLP.Config(depth=3, patch_multiplier=4)
CLIP, SIGLIP, DINOV2 = 1024, 1152, 1024
D_7B, D_13B, D_PHI_2 = 4096, 5120, 2560


@pytest.mark.parametrize(
    ("config", "d_vision", "d_text", "expected"),
    [
        (MLP.Config(), CLIP, D_7B, 20_979_712),
        (MLP.Config(), SIGLIP, D_7B, 21_504_000),
        (MLP.Config(), CLIP, D_13B, 31_467_520),
        (MLP.Config(), SIGLIP, D_13B, 32_122_880),
        (MLP.Config(), CLIP, D_PHI_2, 9_180_160),
        (FUSED, DINOV2 + SIGLIP, D_7B, 71_385_600),
        (FUSED, DINOV2 + SIGLIP, D_13B, 89_737_728),
        (FUSED, DINOV2 + CLIP, D_7B, 67_125_248),
    ],
    ids=str,
)
def test_the_projectors_of_prismatic_have_as_many_parameters(
    config: MLP.Config, d_vision: int, d_text: int, expected: int
) -> None:
    with torch.device("meta"):
        connector = config.build(d_vision=d_vision, d_text=d_text, grid=(27, 27))
    assert sum(parameter.numel() for parameter in connector.parameters()) == expected


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"depth": 0}, r"mlp\.depth is 0; expected 1 or more linear layers"),
        ({"depth": 1, "patch_multiplier": 4}, r"patch_multiplier is 4 at depth 1; expected"),
        ({"patch_multiplier": 0}, r"patch_multiplier is 0 at depth 2; expected 1 or more"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MLP.Config(**settings)
