"""Families whose layers cannot be told of images are refused when the model is built."""

from typing import Any

import pytest
from transformers import AutoConfig, AutoModelForCausalLM

from isthmus.fusion import FusionConfig
from isthmus.fusion.gated_cross_attention import GatedCrossAttention
from isthmus.fusion.inline import Inline
from isthmus.fusion.visual_expert import VisualExpert

BLOOM = {"model_type": "bloom", "hidden_size": 32, "n_layer": 2, "n_head": 2, "pad_token_id": 3}
GPT_1 = {"model_type": "openai-gpt", "n_embd": 32, "n_layer": 2, "n_head": 2}
EXPERT = VisualExpert.Config(positions="sequential")
DROPPED = "BloomModel does not hand keywords on to its layers: .* choose another language model"
UNMARKED = "OpenAIGPTModel has no layers that can be told .* choose another language model"


def body_of(settings: dict[str, Any]) -> Any:
    return AutoModelForCausalLM.from_config(
        AutoConfig.for_model(**settings, vocab_size=50)
    ).base_model


@pytest.mark.parametrize("fusion", [EXPERT, GatedCrossAttention.Config()], ids=lambda f: f.kind)
@pytest.mark.parametrize(("family", "reason"), [(BLOOM, DROPPED), (GPT_1, UNMARKED)])
def test_layers_that_do_not_hear_are_named(
    fusion: FusionConfig, family: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        fusion.build(body_of(family), boundaries=(0, 0))


@pytest.mark.parametrize("family", [BLOOM, GPT_1])
def test_visual_tokens_in_the_text_need_no_hearing(family: dict[str, Any]) -> None:
    assert Inline.Config().build(body_of(family), boundaries=(0, 0)).parts()


def test_a_family_without_positions_cannot_have_patches_share_one() -> None:
    with pytest.raises(ValueError, match=r"BloomModel takes no positions.* set positions to 'seq"):
        VisualExpert.Config().build(body_of(BLOOM), boundaries=(0, 0))
