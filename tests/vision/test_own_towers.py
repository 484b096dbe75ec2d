"""What the vision transformers of our own promise: they are towers like any of transformers'."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.functional import interpolate
from transformers import (
    AutoConfig,
    AutoModel,
    Blip2Config,
    Blip2ForConditionalGeneration,
    PreTrainedModel,
)

import isthmus
from isthmus import IsthmusForConditionalGeneration, IsthmusProcessor
from isthmus.vision.tower import VisionTower
from tests.tiny import (
    GRID,
    IMAGE_SIZE,
    NUM_BLOCKS,
    VISION_CONFIGS,
    load_tower,
    save_language,
    save_vision,
    tiny_image_processor,
    tiny_pixels,
)

MEAN, STD = [0.4, 0.5, 0.6], [0.2, 0.25, 0.3]
KINDS = {"eva2_clip_vision": {}, "coca_vision": {}, "coca_vision_bare": {"use_class_token": False}}
SIZES = VISION_CONFIGS["clip_vision_model"]
# Attention written out and in one kernel round differently.
TOLERANCE = 1e-5

every_kind = pytest.mark.parametrize("kind", KINDS)


def tiny(kind: str, seed: int = 0, **changes: Any) -> PreTrainedModel:
    torch.manual_seed(seed)
    config = AutoConfig.for_model(kind.removesuffix("_bare"), **{**SIZES, **KINDS[kind], **changes})
    model = AutoModel.from_config(config).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    return model


def normalized(pixels: Tensor) -> Tensor:
    mean, std = torch.tensor(MEAN)[:, None, None], torch.tensor(STD)[:, None, None]
    return (pixels.float() / 255 - mean) / std


@every_kind
@pytest.mark.parametrize("layer", [-1, -2, 1, NUM_BLOCKS])
def test_a_cut_tower_equals_the_whole_at_that_layer(kind: str, layer: int) -> None:
    whole, pixels = tiny(kind), tiny_pixels(2)
    block = whole.layers[layer if layer < 0 else layer - 1]
    seen: list[Tensor] = []
    block.register_forward_hook(lambda module, inputs, output: seen.append(output))
    last = whole(normalized(pixels)).last_hidden_state
    cut = VisionTower(tiny(kind), layers=[layer], mean=MEAN, std=STD)
    patches = cut(pixels)
    assert patches.grid == GRID
    assert torch.equal(patches.features, seen[0][:, -16:])
    assert torch.equal(last, seen[0]) == (layer in (-1, NUM_BLOCKS))
    assert len(cut.encoder.layers) == (NUM_BLOCKS - 1 if layer == -2 else layer % (NUM_BLOCKS + 1))
    patches.features.square().sum().backward()
    assert all(parameter.grad is not None for parameter in cut.parameters())


@every_kind
def test_images_of_another_size_take_positions_between_the_learned_ones(kind: str) -> None:
    model = tiny(kind)
    pixels = torch.randn(1, 3, 48, 16)
    found = model(pixels, interpolate_pos_encoding=True).last_hidden_state
    prefix = model.embeddings.num_prefix
    learned = model.embeddings.positions.detach()
    cells = learned[prefix:].T.reshape(1, -1, *GRID)
    between = interpolate(cells, size=(6, 2), mode="bicubic", align_corners=False)[0].flatten(1).T
    model.embeddings.grid = (6, 2)
    model.embeddings.positions = nn.Parameter(torch.cat([learned[:prefix], between]))
    assert torch.equal(found, model(pixels).last_hidden_state)


@every_kind
def test_images_of_another_size_are_refused_unless_asked_for(kind: str) -> None:
    # As many patches, in another arrangement: positions would be wrong without any error.
    with pytest.raises(ValueError, match="images of 8 x 2 patches came to positions learned for 4"):
        tiny(kind)(torch.randn(1, 3, 64, 16))


@every_kind
def test_attention_is_the_same_written_out(kind: str) -> None:
    pixels = tiny_pixels(2)
    model = tiny(kind)
    assert model.config._attn_implementation == "sdpa"
    fused = model(normalized(pixels)).last_hidden_state
    model.set_attn_implementation("eager")
    written_out = model(normalized(pixels)).last_hidden_state
    assert not torch.equal(fused, written_out)
    torch.testing.assert_close(fused, written_out, atol=TOLERANCE, rtol=TOLERANCE)


@every_kind
def test_checkpointed_gradients_are_the_same(kind: str) -> None:
    plain, checkpointed = tiny(kind), tiny(kind)
    checkpointed.activation_checkpointing_enable()
    runs: list[int] = []
    checkpointed.layers[0].attention.register_forward_hook(lambda *_: runs.append(1))
    for model in (plain, checkpointed):
        model.train()(normalized(tiny_pixels(1))).last_hidden_state.square().sum().backward()
    assert len(runs) == 2
    pairs = zip(plain.parameters(), checkpointed.parameters(), strict=True)
    assert all(torch.equal(one.grad, other.grad) for one, other in pairs)


@every_kind
def test_fresh_weights_are_drawn_after_building_without_memory(kind: str) -> None:
    config = tiny(kind, initializer_range=0.05).config
    with torch.device("meta"):
        model = AutoModel.from_config(config)
    model.to_empty(device="cpu")
    for parameter in model.parameters():
        nn.init.constant_(parameter, float("nan"))
    model.init_weights()
    for name, parameter in model.named_parameters():
        assert parameter.isfinite().all(), name
    assert 0.03 < model.embeddings.positions.std() < 0.06


@pytest.mark.parametrize("kind", ["eva2_clip_vision", "coca_vision"])
def test_a_model_around_it_is_saved_and_loaded(kind: str, tmp_path: Path) -> None:
    tower = tiny(kind)
    tower.save_pretrained(tmp_path / "tower")
    tiny_image_processor().save_pretrained(tmp_path / "tower")
    folders = {"vision": str(tmp_path / "tower"), "language": save_language(tmp_path / "language")}
    model = IsthmusForConditionalGeneration.from_towers(**folders, vision_layer=-1).eval()
    model.save_pretrained(tmp_path / "model")
    IsthmusProcessor.from_towers(**folders, vision_layer=-1).save_pretrained(tmp_path / "model")
    again, _ = isthmus.load(tmp_path / "model")
    pixels = tiny_pixels(2)
    expected = tower(normalized(pixels)).last_hidden_state[:, -16:]
    for each in (model, again):
        features = each.model.encode_images(pixels).features
        assert torch.equal(features, expected)


def test_the_tower_of_a_whole_blip2_is_found(tmp_path: Path) -> None:
    small = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 20}
    config = Blip2Config(
        vision_config={**SIZES, "initializer_range": 0.1},
        qformer_config={**small, "intermediate_size": 16, "encoder_hidden_size": 32},
        text_config={**small, "model_type": "opt", "ffn_dim": 16, "word_embed_proj_dim": 16},
    )
    whole = Blip2ForConditionalGeneration(config).eval()
    whole.save_pretrained(tmp_path)
    pixels = tiny_pixels(2)
    cut = load_tower(str(tmp_path), -1, mean=MEAN, std=STD)
    expected = whole.vision_model(normalized(pixels)).last_hidden_state
    assert torch.equal(cut.eval()(pixels).features, expected[:, 1:])
    without = {n: v for n, v in load_file(tmp_path / "model.safetensors").items() if "qkv" not in n}
    save_file(without, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match="lacks weights of its blip_2_vision_model tower"):
        load_tower(str(tmp_path), -1, mean=MEAN, std=STD)


def test_the_tower_of_blip2_is_found_on_its_own(tmp_path: Path) -> None:
    folder = save_vision(tmp_path, "blip_2_vision_model")
    stock = AutoModel.from_pretrained(folder)
    cut = load_tower(folder, -1, mean=MEAN, std=STD)
    pixels = torch.zeros(1, 3, IMAGE_SIZE, IMAGE_SIZE, dtype=torch.uint8)
    expected = stock(normalized(pixels)).last_hidden_state[:, 1:]
    assert torch.equal(cut.eval()(pixels).features, expected)
