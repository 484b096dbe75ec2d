"""Several towers, several layers, other resolutions: each against the towers alone."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import isthmus
from isthmus import IsthmusForConditionalGeneration, IsthmusProcessor
from isthmus.axes import Patches
from isthmus.connectors.qformer import QFormer
from isthmus.vision.choice import TowerChoice
from isthmus.vision.fused import resampled, shrunk
from tests.tiny import (
    D_VISION,
    NUM_BLOCKS,
    VISION_CONFIGS,
    load_tower,
    save_language,
    save_vision,
    tiny_image,
    tiny_pixels,
)

MEAN, STD = [0.4, 0.5, 0.6], [0.2, 0.25, 0.3]
PREFIXED = [name for name in VISION_CONFIGS if name != "siglip_vision_model"]
# Two ways to the same interpolation round differently.
TOLERANCE = 1e-5


def folders(tmp_path: Path, *families: str) -> list[str]:
    return [save_vision(tmp_path / family, family) for family in families]


def joined(
    tmp_path: Path, first: str, *beside: TowerChoice, **choices: Any
) -> IsthmusForConditionalGeneration:
    language = save_language(tmp_path / "language")
    towers = {"vision": first, "language": language, "beside": list(beside)}
    model = IsthmusForConditionalGeneration.from_towers(**towers, **choices)
    IsthmusProcessor.from_towers(**towers, **choices).save_pretrained(tmp_path / "model")
    model.save_pretrained(tmp_path / "model")
    return model


def alone(folder: str, layer: int, pixels: Tensor) -> Patches:
    return load_tower(folder, layer, mean=MEAN, std=STD)(pixels)


@torch.no_grad()
def test_the_patches_of_several_towers_stand_side_by_side(tmp_path: Path) -> None:
    names = folders(tmp_path, "siglip_vision_model", "dinov2", "clip_vision_model")
    others = [TowerChoice(name=names[1], layer=-1), TowerChoice(name=names[2], layer=1)]
    model = joined(tmp_path, names[0], *others)
    pixels = tiny_pixels(2)
    seen = model.encode_images(pixels)
    parts = [alone(name, layer, pixels) for name, layer in zip(names, (-2, -1, 1), strict=True)]
    assert model.config.d_vision == 3 * D_VISION
    assert seen.grid == (4, 4)
    assert torch.equal(seen.features, torch.cat([part.features for part in parts], dim=-1))
    again, _ = isthmus.load(tmp_path / "model")
    assert torch.equal(again.encode_images(pixels).features, seen.features)
    assert torch.equal(again.get_image_features(pixels).pooler_output, model.model.connect(seen))


@torch.no_grad()
def test_each_tower_normalises_for_itself(tmp_path: Path) -> None:
    names = folders(tmp_path, "siglip_vision_model", "dinov2")
    model = joined(tmp_path, names[0], TowerChoice(name=names[1]))
    tower = model.model.vision_tower
    before = tower(tiny_pixels(1)).features
    tower.towers[1].mean = (0.0, 0.0, 0.0)
    after = tower(tiny_pixels(1)).features
    assert torch.equal(before[..., :D_VISION], after[..., :D_VISION])
    assert not torch.equal(before[..., D_VISION:], after[..., D_VISION:])


@torch.no_grad()
def test_a_tower_of_another_resolution_is_brought_to_the_first_ones_grid(tmp_path: Path) -> None:
    names = folders(tmp_path, "siglip_vision_model", "dinov2")
    model = joined(tmp_path, names[0], TowerChoice(name=names[1], image_size=64))
    # Pictures come at the larger size; the first tower sees them shrunk, on its own 4 x 4 grid.
    assert model.config.resize.size == (64, 64)
    assert model.config.grid == (4, 4)
    pixels = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    seen = model.encode_images(pixels)
    first = alone(names[0], -2, shrunk(pixels, 32))
    second = alone(names[1], -2, pixels)
    assert second.grid == (8, 8)
    assert torch.equal(seen.features[..., :D_VISION], first.features)
    assert torch.equal(seen.features[..., D_VISION:], resampled(second, (4, 4)))


def test_resampling_keeps_constants_and_slopes() -> None:
    rows = torch.arange(8.0)[:, None].expand(8, 8)
    field = Patches(features=torch.stack([rows, torch.ones(8, 8)], -1).view(1, 64, 2), grid=(8, 8))
    moved = resampled(field, (4, 4)).view(4, 4, 2)
    torch.testing.assert_close(moved[..., 1], torch.ones(4, 4))
    # The middle of a coarse row lies between two fine ones; edges see one side alone.
    torch.testing.assert_close(moved[1:3, 0, 0], torch.tensor([2.5, 4.5]))
    assert moved[:, :, 0].std(dim=1).max() < TOLERANCE


def test_shrinking_is_pillows_but_for_rounding() -> None:
    image = tiny_image(width=64, height=64)
    large, small = (
        torch.from_numpy(np.array(each)).permute(2, 0, 1)
        for each in (image, image.resize((32, 32), Image.Resampling.BICUBIC))
    )
    assert (shrunk(large[None], 32)[0] - small).abs().max() <= 1


@pytest.mark.parametrize("family", VISION_CONFIGS)
@torch.no_grad()
def test_several_layers_stand_side_by_side(tmp_path: Path, family: str) -> None:
    name = save_vision(tmp_path / family, family)
    pixels = tiny_pixels(2)
    layers = (1, -1, -2)
    model = joined(tmp_path, name, vision_layer=layers)
    expected = torch.cat([alone(name, layer, pixels).features for layer in layers], dim=-1)
    assert torch.equal(model.encode_images(pixels).features, expected)
    assert torch.equal(model.encode_images(pixels).features, expected)  # nothing is left over
    again, _ = isthmus.load(tmp_path / "model")
    assert again.config.vision_layer == list(layers)
    assert torch.equal(again.encode_images(pixels).features, expected)


def test_what_lies_behind_the_deepest_layer_is_gone(tmp_path: Path) -> None:
    name = save_vision(tmp_path / "tower")
    model = joined(tmp_path, name, vision_layer=(1, 2))
    kept = [n for n, _ in model.model.vision_tower.named_parameters() if "layers.2" in n]
    assert kept == []


@pytest.mark.parametrize("layers", [(), (1, 1), (NUM_BLOCKS + 1, 1)])
def test_layers_that_make_no_sense_are_refused(tmp_path: Path, layers: tuple[int, ...]) -> None:
    name = save_vision(tmp_path / "tower")
    with pytest.raises(ValueError, match=r"vision layers are|vision_layer 4 is not in a tower"):
        joined(tmp_path, name, vision_layer=layers)


@torch.no_grad()
def test_an_image_may_be_larger_than_the_tower_learned(tmp_path: Path) -> None:
    name = save_vision(tmp_path / "tower")
    model = joined(tmp_path, name, image_size=48)
    assert model.config.grid == (6, 6)
    assert model.config.num_image_tokens == 36
    _, processor = isthmus.load(tmp_path / "model")
    pixels = processor.views(tiny_image())
    assert pixels.shape == (1, 3, 48, 48)
    stock = load_tower(name, -2, mean=MEAN, std=STD)
    assert torch.equal(model.encode_images(pixels).features, stock(pixels).features)


@pytest.mark.parametrize("family", PREFIXED)
@torch.no_grad()
def test_the_class_token_is_read_where_it_is_asked_for(tmp_path: Path, family: str) -> None:
    name = save_vision(tmp_path / family, family)
    small = QFormer.Config(num_queries=3, depth=2, d_hidden=12, num_heads=2, dropout=0.0)
    torch.manual_seed(0)
    model = joined(tmp_path, name, connector=small, vision_prefix=True)
    for parameter in model.model.connector.parameters():
        parameter.normal_(std=0.3)  # fresh weights hardly tell one patch from another
    model.save_pretrained(tmp_path / "model")
    pixels = tiny_pixels(1)
    seen, bare = model.encode_images(pixels), alone(name, -2, pixels)
    assert torch.equal(seen.features, bare.features)
    assert seen.states.shape[1] == seen.prefix.shape[1] + 16 > 16
    # What the feature store keeps gives the same tokens, and the class token takes part.
    tokens = model.model.connect(seen)
    assert torch.equal(model.model.connect(seen.states), tokens)
    assert (model.model.connect(bare) - tokens).abs().max() > 1e-4
    again, _ = isthmus.load(tmp_path / "model")
    assert torch.equal(again.get_image_features(pixels).pooler_output, tokens)


def test_a_class_token_that_nothing_reads_is_refused(tmp_path: Path) -> None:
    names = folders(tmp_path, "clip_vision_model", "dinov2")
    with pytest.raises(ValueError, match="1 towers and the connector 'mlp'"):
        joined(tmp_path, names[0], vision_prefix=True)
    with pytest.raises(ValueError, match="2 towers and the connector 'qformer'"):
        joined(
            tmp_path,
            names[0],
            TowerChoice(name=names[1]),
            connector="qformer",
            vision_prefix=True,
        )


def test_every_tower_learns_when_it_is_trained(tmp_path: Path) -> None:
    names = folders(tmp_path, "siglip_vision_model", "dinov2")
    model = joined(tmp_path, names[0], TowerChoice(name=names[1]), vision_layer=(1, 2))
    model.model.vision_tower.requires_grad_(True)
    model.get_image_features(tiny_pixels(2)).pooler_output.square().sum().backward()
    idle = [
        name
        for name, parameter in model.model.vision_tower.named_parameters()
        if parameter.grad is None or not parameter.grad.abs().sum()
    ]
    # Without masked patches DINOv2's mask token has nothing to do.
    assert [name.rsplit(".", 1)[-1] for name in idle] == ["mask_token"]
