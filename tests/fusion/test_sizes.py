"""CogVLM's experts are as many as the paper's, on the meta device."""

from typing import Any

import pytest
import torch
from transformers import AutoModel, LlamaConfig

from isthmus import IsthmusConfig, IsthmusForConditionalGeneration
from isthmus.connectors.glu import GLU
from isthmus.fusion.visual_expert import VisualExpert
from isthmus.vision.configuration import Eva2ClipVisionConfig

VICUNA_7B: dict[str, Any] = {
    "vocab_size": 32_000,
    "hidden_size": 4096,
    "intermediate_size": 11_008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 32,
    "tie_word_embeddings": False,
}
LLAMA_3_8B = {
    **VICUNA_7B,
    "vocab_size": 128_256,
    "intermediate_size": 14_336,
    "num_key_value_heads": 8,
}
ATTENTION, PERCEPTRON = 4 * 4096 * 4096, 3 * 4096 * 11_008
LAYER = ATTENTION + PERCEPTRON
ADAPTER = 142_622_720
SHARED = {"qkv": "shared", "output": "shared"}


def experts_of(language: dict[str, Any], settings: dict[str, Any]) -> int:
    config = VisualExpert.Config(**settings)
    with torch.device("meta"):
        fusion = config.build(AutoModel.from_config(LlamaConfig(**language)), boundaries=(1, 1))
    return sum(p.numel() for part in fusion.parts() for p in part.parameters())


@pytest.mark.parametrize(
    ("settings", "expected", "billions"),
    [
        # The trained of the paper's table 6: experts and adapter.
        ({}, 32 * LAYER, 6.619),
        ({"every": 4}, 8 * LAYER, 1.762),
        (SHARED, 32 * PERCEPTRON, 4.471),
        ({"qkv": "random", "output": "random", "mlp": "random"}, 32 * LAYER, 6.619),
        ({"mlp": "shared"}, 32 * ATTENTION, 2.290),
    ],
    ids=["all", "every 4th layer", "ffn alone", "random", "attention alone"],
)
def test_the_experts_of_cogvlm_are_as_many_as_the_papers(
    settings: dict[str, Any], expected: int, billions: float
) -> None:
    found = experts_of(VICUNA_7B, settings)
    assert found == expected
    assert (found + ADAPTER) / 1e9 == pytest.approx(billions, abs=5e-4)


def test_the_experts_of_cogvlm_are_6476_million_and_those_of_cogvlm2_6980() -> None:
    assert experts_of(VICUNA_7B, {}) == 6_476_005_376
    # Grouped keys and values, and a bias on the maps to queries, keys and values.
    assert experts_of(LLAMA_3_8B, {"qkv_bias": True}) == 6_979_518_464


def test_the_whole_of_cogvlm_has_17_64_billion_parameters() -> None:
    config = IsthmusConfig(
        vision_config=Eva2ClipVisionConfig(),
        text_config=LlamaConfig(**VICUNA_7B),
        connector_config=GLU.Config().to_dict(),
        visual_fusion_config=VisualExpert.Config().to_dict(),
        image_size=490,
        vision_layer=-1,
    )
    with torch.device("meta"):
        model = IsthmusForConditionalGeneration(config)
    counts = {
        name: sum(p.numel() for p in part.parameters()) for name, part in model.parts().items()
    }
    assert counts == {
        "vision_tower": 4_282_641_664,
        "connector": ADAPTER,
        "language_model": 6_738_415_616,
        "fusion": 6_476_005_376,
    }
    assert sum(counts.values()) / 1e9 == pytest.approx(17.64, abs=5e-3)
    assert config.num_image_tokens == 1227
