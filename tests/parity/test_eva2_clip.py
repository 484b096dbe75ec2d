"""EVA2-CLIP-E equals the tower of CogVLM's remote code, and counts what the paper's has."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, layer_norm, linear, silu

from isthmus.shipping.importers import cogvlm_vision
from isthmus.vision.configuration import Eva2ClipVisionConfig
from isthmus.vision.eva2_clip import Eva2ClipVisionModel
from tests.parity.golden import FOLDER, TOLERANCE, Golden, read

TOWER_PARTS = ("model.vision.patch_embedding.", "model.vision.transformer.")


@pytest.fixture(name="golden", scope="module")
def _golden() -> Golden:
    return read(FOLDER / "cogvlm_model.safetensors")


def tower_weights(golden: Golden) -> dict[str, Tensor]:
    return {n: v.clone() for n, v in golden.weights.items() if n.startswith(TOWER_PARTS)}


def loaded(golden: Golden) -> Eva2ClipVisionModel:
    config = cogvlm_vision.tower(golden.arguments["config"]["vision_config"])
    model = Eva2ClipVisionModel(config).eval()
    model.load_state_dict(cogvlm_vision.TOWER.to_ours(tower_weights(golden)))
    return model


def adapted(golden: Golden, patches: Tensor) -> Tensor:
    """CogVLM's adapter, by its formula: linear, norm, GELU, gated unit, between boi and eoi."""
    weights = {
        name.removeprefix("model.vision."): value
        for name, value in golden.weights.items()
        if name.startswith("model.vision.")
    }
    matrix = {n: v for n, v in weights.items() if n.startswith("linear_proj.")}
    states = linear(patches, matrix["linear_proj.linear_proj.weight"])
    norm = (matrix["linear_proj.norm1.weight"], matrix["linear_proj.norm1.bias"])
    states = gelu(layer_norm(states, norm[0].shape, *norm, eps=1e-5))
    gate = silu(linear(states, matrix["linear_proj.gate_proj.weight"]))
    states = gate * linear(states, matrix["linear_proj.dense_h_to_4h.weight"])
    states = linear(states, matrix["linear_proj.dense_4h_to_h.weight"])
    boi, eoi = (weights[name].expand(len(patches), -1, -1) for name in ("boi", "eoi"))
    return torch.cat([boi, states, eoi], dim=1)


def test_the_tower_equals_the_published_code(golden: Golden) -> None:
    with torch.no_grad():
        states = loaded(golden)(golden.inputs["pixel_values"]).last_hidden_state
    found = adapted(golden, states[:, 1:])
    assert (found - golden.outputs["vision"]).abs().max() < TOLERANCE


def test_the_names_lead_there_and_back(golden: Golden) -> None:
    published = tower_weights(golden)
    again = cogvlm_vision.TOWER.to_theirs(loaded(golden).state_dict())
    assert set(again) == set(published)
    assert all(torch.equal(again[name], published[name]) for name in published)


def test_the_settings_are_read_from_the_published_ones(golden: Golden) -> None:
    published = golden.arguments["config"]["vision_config"]
    config = cogvlm_vision.tower({**published, "num_positions": 1226, "patch_size": 14})
    assert (config.image_size, config.layer_norm_eps) == (490, 1e-6)
    for name, value in {"hidden_act": "relu", "in_channels": 4, "dropout_prob": 0.1}.items():
        with pytest.raises(ValueError, match=f"{name} {value!r}; expected"):
            cogvlm_vision.tower({**published, name: value})
    with pytest.raises(ValueError, match="num_positions is 11; expected one more than a square"):
        cogvlm_vision.tower({**published, "num_positions": 11})


def test_the_defaults_have_the_papers_4283_million_parameters() -> None:
    with torch.device("meta"):
        model = Eva2ClipVisionModel(Eva2ClipVisionConfig())
    width, inner, patch, patches = 1792, 15360, 14, 35 * 35
    attention = width * 3 * width + 3 * width + width * width + width
    perceptron = 2 * width * inner + inner + width
    norms = 2 * 2 * width
    embedding = 3 * patch**2 * width + width + width + (1 + patches) * width
    expected = 63 * (attention + perceptron + norms) + embedding
    assert sum(p.numel() for p in model.parameters()) == expected == 4_282_641_664
    assert isinstance(model.layers, nn.ModuleList)
    assert math.isclose(expected / 1e9, 4.283, abs_tol=5e-4)


def test_heads_that_do_not_share_the_width_are_refused() -> None:
    with pytest.raises(ValueError, match=r"num_attention_heads is 5, which does not divide .* 32"):
        Eva2ClipVisionConfig(hidden_size=32, num_attention_heads=5)
