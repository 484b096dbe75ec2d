"""A tower that was cut off gives what the whole one gives at that layer."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    CLIPConfig,
    CLIPModel,
    PreTrainedModel,
    SiglipConfig,
    SiglipModel,
)

from isthmus.geometry.resize import Resize
from isthmus.vision.preprocessing import read_preprocessing
from isthmus.vision.tower import VisionTower, grid_of, num_blocks_kept
from isthmus.vision.views import views
from tests.tiny import (
    GRID,
    LANGUAGE_CONFIGS,
    NUM_BLOCKS,
    VISION_CONFIGS,
    load_tower,
    save_vision,
    tiny_image,
    tiny_image_processor,
    tiny_pixels,
    tiny_vision,
)

MEAN, STD = [0.4, 0.5, 0.6], [0.2, 0.25, 0.3]
NUM_PREFIX = {
    "siglip_vision_model": 0,
    "clip_vision_model": 1,
    "dinov2": 1,
    "dinov2_with_registers": 4,
    "vit": 1,
    "blip_2_vision_model": 1,
}
# Rescaling before or after the mean is taken differs in the last bit of the pixels.
PIXEL_TOLERANCE = 1e-6

every_family = pytest.mark.parametrize("family", VISION_CONFIGS)


def tower(encoder: PreTrainedModel, layer: int) -> VisionTower:
    return VisionTower(encoder, layers=[layer], mean=MEAN, std=STD)


def normalized(pixels: torch.Tensor) -> torch.Tensor:
    mean, std = torch.tensor(MEAN)[:, None, None], torch.tensor(STD)[:, None, None]
    return (pixels.float() / 255 - mean) / std


@every_family
@pytest.mark.parametrize("layer", [-1, -2, -3, 1, NUM_BLOCKS])
def test_a_cut_tower_equals_the_whole_at_that_layer(family: str, layer: int) -> None:
    pixels = tiny_pixels(2)
    with torch.no_grad():
        whole = tiny_vision(family)(normalized(pixels), output_hidden_states=True)
        expected = whole.last_hidden_state if layer == -1 else whole.hidden_states[layer]
        patches = tower(tiny_vision(family), layer)(pixels)
    assert patches.grid == GRID
    assert torch.equal(patches.features, expected[:, NUM_PREFIX[family] :])


@every_family
def test_what_lies_behind_the_layer_is_gone(family: str) -> None:
    cut = tower(tiny_vision(family), -3)
    blocks = [m for m in cut.modules() if isinstance(m, nn.ModuleList)]
    assert [len(m) for m in blocks] == [NUM_BLOCKS - 2]
    cut(tiny_pixels(1)).features.square().sum().backward()
    without = [name for name, p in cut.named_parameters() if p.grad is None]
    # A mask token serves pretraining only; it is in the stock tower too.
    assert [name for name in without if "mask_token" not in name] == []


@every_family
@pytest.mark.parametrize("size", [(48, 32), (64, 16), (32, 32)], ids=str)
@pytest.mark.parametrize("layer", [-1, -2])
def test_images_of_another_size_and_shape(family: str, size: tuple[int, int], layer: int) -> None:
    pixels = torch.randint(0, 256, (1, 3, *size), dtype=torch.uint8)
    # Some families take images of any size unasked.
    resized = {} if family.startswith("dinov2") else {"interpolate_pos_encoding": True}
    with torch.no_grad():
        whole = tiny_vision(family)(normalized(pixels), output_hidden_states=True, **resized)
        expected = whole.last_hidden_state if layer == -1 else whole.hidden_states[layer]
        patches = tower(tiny_vision(family), layer)(pixels)
    assert patches.grid == (size[0] // 8, size[1] // 8)
    assert torch.equal(patches.features, expected[:, NUM_PREFIX[family] :])


def test_bytes_and_floats_are_the_same_image() -> None:
    pixels = tiny_pixels(2)
    cut = tower(tiny_vision(), -2)
    assert torch.equal(cut(pixels).features, cut(pixels.float()).features)


def test_half_precision_does_not_round_the_normalisation() -> None:
    cut = tower(tiny_vision(), -2).to(torch.bfloat16)
    seen: list[torch.Tensor] = []
    cut.encoder.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(kwargs["pixel_values"]), with_kwargs=True
    )
    pixels = tiny_pixels(1)
    cut(pixels)
    assert torch.equal(seen[0], normalized(pixels).to(torch.bfloat16))


@pytest.mark.parametrize("model", ["siglip", "clip"])
def test_the_vision_part_of_a_larger_model_is_taken(model: str, tmp_path: Path) -> None:
    family = f"{model}_vision_model"
    config_class, model_class = {
        "siglip": (SiglipConfig, SiglipModel),
        "clip": (CLIPConfig, CLIPModel),
    }[model]
    text = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "vocab_size": 20}
    config = config_class(
        vision_config=VISION_CONFIGS[family], text_config={**text, "num_attention_heads": 4}
    )
    whole = model_class(config).eval()
    whole.save_pretrained(tmp_path)
    cut = load_tower(str(tmp_path), -2, mean=MEAN, std=STD)
    pixels = tiny_pixels(1)
    with torch.no_grad():
        states = whole.vision_model(normalized(pixels), output_hidden_states=True).hidden_states
        found = cut(pixels).features
    assert torch.equal(found, states[-2][:, NUM_PREFIX[family] :])


def test_pixels_are_those_of_the_towers_own_image_processor(tmp_path: Path) -> None:
    folder = save_vision(tmp_path)
    found = read_preprocessing(folder, AutoConfig.from_pretrained(folder))
    image = tiny_image()
    plan = Resize(strategy="naive", size=(found.image_size,) * 2).plan(*image.size)
    ours = views(image, plan, resample=found.resample, fill=(0, 0, 0))[0]
    stock = AutoImageProcessor.from_pretrained(folder)(image, return_tensors="pt")["pixel_values"]
    mean = torch.tensor(found.mean)[:, None, None]
    std = torch.tensor(found.std)[:, None, None]
    difference = (ours.float() / 255 - mean) / std - stock[0]
    assert difference.abs().max() < PIXEL_TOLERANCE


def test_a_missing_image_processor_is_named(tmp_path: Path) -> None:
    tiny_vision().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="holds no image processor"):
        read_preprocessing(str(tmp_path), AutoConfig.from_pretrained(tmp_path))


def test_an_image_processor_without_rescaling_is_refused(tmp_path: Path) -> None:
    tiny_vision().save_pretrained(tmp_path)
    stock = tiny_image_processor()
    stock.do_rescale = False
    stock.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="does not rescale"):
        read_preprocessing(str(tmp_path), AutoConfig.from_pretrained(tmp_path))


@pytest.mark.parametrize("layer", [0, NUM_BLOCKS + 1, -NUM_BLOCKS - 1])
def test_a_layer_that_is_not_there_is_refused(layer: int) -> None:
    with pytest.raises(ValueError, match=f"vision_layer {layer} is not in a tower of 3 blocks"):
        num_blocks_kept(tiny_vision().config, layer)


def test_towers_without_patches_are_refused() -> None:
    with pytest.raises(ValueError, match="'resnet' tower has no patch_size"):
        grid_of(AutoConfig.for_model("resnet"), 32, 32)
    for family in ("convnext", "swin", "resnet"):
        with pytest.raises(ValueError, match=f"'{family}' tower is no plain stack of blocks"):
            num_blocks_kept(AutoConfig.for_model(family), -1)
    with pytest.raises(ValueError, match="smaller than a patch"):
        grid_of(tiny_vision().config, 32, 4)


def test_missing_weights_are_not_drawn_at_random(tmp_path: Path) -> None:
    folder = save_vision(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    dropped = next(name for name in weights if "layers.0" in name)
    del weights[dropped]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match="lacks weights of its siglip_vision_model tower"):
        load_tower(folder, -2, mean=MEAN, std=STD)


def test_the_factories_cover_the_families_that_are_promised() -> None:
    promised = {"llama", "qwen3", "mistral", "gemma2", "opt", "gpt2", "gpt_neox"}
    assert promised <= set(LANGUAGE_CONFIGS)
