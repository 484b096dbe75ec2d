"""Padding, shared heads, and the projection in front."""

from dataclasses import replace

import pytest
import torch

from isthmus.axes import Patches
from isthmus.connectors.idefics2_resampler import GatedPerceptron, Idefics2Resampler

D_VISION, D_TEXT = 12, 20
SMALL = Idefics2Resampler.Config(num_latents=5, depth=2, num_heads=4, d_head=6)


def build(config: Idefics2Resampler.Config, d_vision: int = D_VISION) -> Idefics2Resampler:
    return config.build(d_vision=d_vision, d_text=D_TEXT, grid=(3, 4)).eval()


def test_a_padded_image_gives_what_it_gives_without_padding() -> None:
    connector = build(SMALL)
    mask = torch.zeros(2, 2, 3, 4, dtype=torch.bool)
    mask[0, :, :2, :3] = mask[1] = True
    patches = Patches(
        features=torch.randn(2, 24, D_VISION), grid=(3, 4), num_frames=2, mask=mask.flatten(1)
    )
    together = connector.read(patches).features
    for index, grid in enumerate([(2, 3), (3, 4)]):
        features = patches.features[index][patches.mask[index]][None]
        alone = connector(Patches(features=features, grid=grid, num_frames=2))
        torch.testing.assert_close(together[index], alone[0], atol=1e-5, rtol=0)
    unmasked = connector(replace(patches, mask=None))
    assert (unmasked[0] - together[0]).abs().max() > 1e-3


@pytest.mark.parametrize(("num_heads", "shared"), [(16, 4), (4, 1), (2, 1)])
def test_heads_of_keys_are_a_quarter_of_those_of_queries(num_heads: int, shared: int) -> None:
    layer = build(replace(SMALL, num_heads=num_heads)).layers[0]
    assert layer.query.out_features == num_heads * 6
    assert layer.key.out_features == layer.value.out_features == shared * 6


def test_patches_as_wide_as_the_tokens_need_no_map() -> None:
    without = replace(SMALL, modality_projection=False)
    assert not list(build(without, d_vision=D_TEXT).projection.parameters())
    assert len(list(build(without).projection.parameters())) == 1


@pytest.mark.parametrize(("d_projection", "inside"), [(None, 80), (28, 28)])
def test_the_inner_width_of_the_projection(d_projection: int | None, inside: int) -> None:
    projection = build(replace(SMALL, d_projection=d_projection)).projection
    assert isinstance(projection, GatedPerceptron)
    assert projection.gate.out_features == inside


@pytest.mark.parametrize(
    ("changes", "fragment"),
    [
        ({"depth": 0}, "depth is 0; expected 1 or more"),
        ({"num_key_value_heads": 0}, "num_key_value_heads is 0; expected 1 or more"),
        ({"num_key_value_heads": 3}, "num_heads is 4; expected a multiple of"),
        ({"num_heads": 9}, "num_heads is 9; expected a multiple of num_key_value_heads.* 2"),
        ({"modality_projection": False, "d_projection": 8}, "d_projection is 8, but there is no"),
    ],
)
def test_settings_that_cannot_be(changes: dict[str, int], fragment: str) -> None:
    with pytest.raises(ValueError, match=fragment):
        replace(SMALL, **changes)
