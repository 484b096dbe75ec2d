"""The recipes of PaLM2-VAdapter: rows differ in what they say, and the hand-over is whole."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from isthmus import recipes
from isthmus.cli._recipe import flatten
from isthmus.connectors.language_adapter import LanguageAdapter
from isthmus.modeling.configuration_isthmus import IsthmusConfig
from isthmus.modeling.modeling_isthmus import IsthmusForConditionalGeneration
from isthmus.recipes._vadapter import DECODER_TO_ADAPTER
from isthmus.study.architecture import architecture
from isthmus.training.hand_over import hand_over, heirs_of
from isthmus.training.models import ModelConfig

MAIN = "vadapter.vit_b_1b"
ROWS: dict[str, set[str]] = {
    "vit_l_1b": {"model.vision", "model.connector.resampler.d_head", "stages.0.model.vision"},
    "vit_g_1b": {"model.vision", "model.connector.resampler.d_head", "stages.0.model.vision"},
    "vit_b_1b_pooler": {"model.connector.resampler.*"},
    "vit_b_1b_six_layers": {"model.connector.resampler.depth"},
    "vit_b_1b_bidirectional": {"model.connector.attention"},
    "siglip_b_1b": {"model.vision", "stages.0.model.vision"},
    "siglip_b_1b_360m": {
        "model.vision",
        "model.connector_start",
        "stages.0.model.vision",
        "stages.0.model.language",
        "stages.0.model.connector.d_head",
    },
}
"""What each row of two stages has otherwise than the main one."""
ALONE: dict[str, set[str]] = {
    "vit_b_1b_random": {"model.connector.pretrained"},
    "vit_b_1b_no_first_stage": set(),
    "vit_b_1b_perceiver": {"model.connector.*", "model.connector_start"},
    "vit_b_1b_mlp": {
        "model.connector.*",
        "model.connector_start",
        "model.clip_frames",
        "stages.0.data.mixture",
    },
}
"""The same of those without a first stage; their stage is compared with the main one's second."""


def lines(name: str, *, stage: int | None = None) -> dict[str, str]:
    """A recipe line by line, or with one of its stages alone."""
    written: dict[str, Any] = recipes.resolve(name).to_dict()
    if stage is not None:
        written["stages"] = [{**written["stages"][stage], "hand_over": None}]
    told = flatten(written)
    return {path: value for path, value in told.items() if path not in ("name", "description")}


def changed(one: dict[str, str], other: dict[str, str], allowed: set[str]) -> set[str]:
    """Lines that differ, those below an allowed one under its name."""
    paths = {path for path in one | other if one.get(path) != other.get(path)}
    wholes = [name.removesuffix("*") for name in allowed if name.endswith("*")]
    return {next((f"{w}*" for w in wholes if path.startswith(w)), path) for path in paths}


@pytest.mark.parametrize("name", ROWS)
def test_a_row_differs_from_the_main_one_in_what_it_says(name: str) -> None:
    assert changed(lines(MAIN), lines(f"vadapter.{name}"), ROWS[name]) == ROWS[name]


@pytest.mark.parametrize("name", ALONE)
def test_a_row_without_a_first_stage_differs_in_what_it_says(name: str) -> None:
    found = changed(lines(MAIN, stage=1), lines(f"vadapter.{name}", stage=0), ALONE[name])
    assert found == ALONE[name]


def test_pairs_of_rows_differ_in_the_tower_or_the_language_model_alone() -> None:
    pairs = {
        ("vit_g_1b", "vit_g_8b"): {"model.language"},
        ("vit_b_1b_perceiver", "vit_l_1b_perceiver"): {"model.vision"},
        ("vit_b_1b_perceiver", "siglip_b_1b_perceiver"): {"model.vision"},
    }
    for (one, other), expected in pairs.items():
        found = changed(lines(f"vadapter.{one}"), lines(f"vadapter.{other}"), expected)
        assert found == expected


def shrunk(config: ModelConfig) -> IsthmusForConditionalGeneration:
    """A model of the same kinds of parts, of few layers."""
    whole: Any = architecture(config)
    written = whole.to_dict()
    small = {"num_hidden_layers": 2, "intermediate_size": 8}
    written["vision_config"] |= small
    written["text_config"] |= small | {"vocab_size": 40}
    written["image_token_id"] = 39
    connector = written["connector_config"]
    if "adapter_config" in connector:
        connector["adapter_config"] |= small
    torch.manual_seed(0)
    return IsthmusForConditionalGeneration(IsthmusConfig.from_dict(written))


def test_the_adapter_begins_with_the_blocks_that_wrote_captions() -> None:
    first, second = recipes.resolve(MAIN).models
    assert isinstance(first, ModelConfig)
    assert isinstance(second, ModelConfig)
    assert first.language == second.connector_start
    decoder, joined = shrunk(first), shrunk(replace(second, language=first.language))
    assert heirs_of(joined, DECODER_TO_ADAPTER) == {"connector"}
    before = {k: v.clone() for k, v in joined.model.connector.state_dict().items()}
    hand_over(decoder, joined, DECODER_TO_ADAPTER)
    after, blocks = joined.model.connector.state_dict(), decoder.model.language_model.state_dict()
    came = {name for name in after if name.startswith("body.")}
    assert {name.removeprefix("body.model.") for name in came} == blocks.keys() - {
        "embed_tokens.weight"
    }
    assert all(torch.equal(after[n], blocks[n.removeprefix("body.model.")]) for n in came)
    assert all(torch.equal(after[name], before[name]) for name in after.keys() - came)
    assert any(not torch.equal(after[name], before[name]) for name in came)


def test_the_small_model_alone_reads_both_ways_where_it_should() -> None:
    for name in recipes.names():
        if name.startswith("vadapter."):
            connector: Any = recipes.resolve(name).model
            if isinstance(connector.connector, LanguageAdapter.Config):
                ways = connector.connector.attention
                assert (ways == "bidirectional") == name.endswith("bidirectional")
