"""Text-only logits are those of the stock language model, to the bit, whatever was trained."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, PreTrainedModel

from isthmus import IsthmusForConditionalGeneration
from isthmus.fusion.inline import Inline
from isthmus.fusion.visual_expert import VisualExpert
from isthmus.language.backbone import take_apart, text_config_of
from isthmus.language.head import HeadArithmetic, build_head
from isthmus.modeling.lora import Lora, add_lora, lora_parameters
from tests.tiny import (
    LANGUAGE_CONFIGS,
    save_language,
    save_t5,
    save_vision,
    tiny_lm,
    tiny_model,
    tiny_pixels,
)

IMAGE_ID = 259
"""First id behind the tiny vocabulary."""

every_family = pytest.mark.parametrize("family", LANGUAGE_CONFIGS)


def ids(*shape: int) -> torch.Tensor:
    return torch.randint(3, IMAGE_ID, shape)


def prompt_with_image(model: IsthmusForConditionalGeneration) -> torch.Tensor:
    image = torch.full((1, model.config.num_image_tokens), IMAGE_ID)
    return torch.cat([ids(1, 3), image, ids(1, 4)], dim=1)


def train_connector(model: IsthmusForConditionalGeneration) -> float:
    """Takes one large step on the connector, all else frozen; returns how far it went."""
    model.requires_grad_(False)
    model.model.connector.requires_grad_(True).train()
    before = [p.detach().clone() for p in model.model.connector.parameters()]
    optimizer = torch.optim.AdamW(model.model.connector.parameters(), lr=0.1)
    prompt = prompt_with_image(model)
    labels = torch.where(prompt == IMAGE_ID, -100, prompt)
    model(input_ids=prompt, pixel_values=tiny_pixels(1), labels=labels).loss.backward()
    optimizer.step()
    model.eval()
    after = model.model.connector.parameters()
    return max((a - b).abs().max().item() for a, b in zip(after, before, strict=True))


def assert_same_text(model: IsthmusForConditionalGeneration, stock: PreTrainedModel) -> None:
    whole = ids(2, 12)
    padded = torch.ones_like(whole)
    padded[1, 9:] = 0
    left = padded.flip(1)
    with torch.no_grad():
        for mask in (None, padded, left):
            expected = stock(input_ids=whole, attention_mask=mask).logits
            found = model(input_ids=whole, attention_mask=mask).logits
            assert torch.equal(found, expected)


@every_family
def test_text_is_untouched_before_and_after_training(family: str, tmp_path: Path) -> None:
    model, _ = tiny_model(tmp_path, language=family, connector="linear")
    stock = AutoModelForCausalLM.from_pretrained(tmp_path / family)
    assert model.config.image_token_id == IMAGE_ID >= stock.get_input_embeddings().num_embeddings
    assert_same_text(model, stock)
    assert train_connector(model) > 0.05
    assert_same_text(model, stock)
    for name, weight in stock.base_model.state_dict().items():
        assert torch.equal(model.model.language_model.state_dict()[name], weight), name


@every_family
def test_a_head_that_is_built_fresh_has_the_family_shape(family: str) -> None:
    stock = tiny_lm(family)
    built = {name: w.shape for name, w in build_head(stock.config).named_parameters()}
    head = stock.get_output_embeddings()
    assert built == {name: w.shape for name, w in head.named_parameters()}


@pytest.mark.parametrize(
    ("family", "arithmetic"),
    [
        ("llama", HeadArithmetic()),
        ("gemma2", HeadArithmetic(soft_cap=3.0)),
        ("cohere", HeadArithmetic(multiplier=0.3)),
        ("granite", HeadArithmetic(divisor=3.0)),
    ],
)
def test_what_a_family_does_to_its_logits_is_read_off_its_configuration(
    family: str, arithmetic: HeadArithmetic
) -> None:
    assert HeadArithmetic.of(tiny_lm(family).config) == arithmetic


def test_a_language_model_that_does_more_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    stock = tiny_lm("gemma2")
    monkeypatch.setattr(HeadArithmetic, "of", classmethod(lambda cls, config: cls()))
    with pytest.raises(ValueError, match="Gemma2ForCausalLM give logits that differ"):
        take_apart(stock)


def test_the_check_is_skipped_where_there_are_no_numbers() -> None:
    with torch.device("meta"):
        stock = AutoModelForCausalLM.from_config(tiny_lm("llama").config)
    assert take_apart(stock).head is stock.lm_head


def test_other_models_are_refused(tmp_path: Path) -> None:
    folder = save_vision(tmp_path / "vision")
    with pytest.raises(ValueError, match="'siglip_vision_model' model; expected a language"):
        text_config_of(folder)


@pytest.mark.skipif(torch.cuda.is_available(), reason="about machines without a GPU")
def test_quantised_weights_are_refused_without_a_gpu(tmp_path: Path) -> None:
    towers = {"vision": save_vision(tmp_path / "v"), "language": save_language(tmp_path / "l")}
    with pytest.raises(ValueError, match="needs a CUDA GPU, and there is none; take the unquant"):
        IsthmusForConditionalGeneration.from_towers(**towers, connector="linear", four_bit=True)
    config = tmp_path / "l/config.json"
    quantised = {"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}}
    config.write_text(json.dumps(json.loads(config.read_text()) | quantised))
    with pytest.raises(ValueError, match="needs a CUDA GPU"):
        IsthmusForConditionalGeneration.from_towers(**towers, connector="linear")


@pytest.mark.gpu
def test_four_bits_learn_low_rank_updates(tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes")
    towers = {"vision": save_vision(tmp_path / "v"), "language": save_language(tmp_path / "l")}
    model = IsthmusForConditionalGeneration.from_towers(
        **towers, connector="linear", four_bit=True
    ).cuda()
    model.requires_grad_(False)
    add_lora(model.parts()["language_model"], Lora(rank=2))
    updates = lora_parameters(model.parts()["language_model"])
    for parameter in updates:
        parameter.requires_grad_(True)
    prompt = prompt_with_image(model).cuda()
    labels = torch.where(prompt == IMAGE_ID, -100, prompt)
    optimizer = torch.optim.AdamW(updates, lr=1e-2)
    losses = []
    for _ in range(10):
        loss = model(input_ids=prompt, pixel_values=tiny_pixels(1).cuda(), labels=labels).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


@pytest.mark.parametrize(
    "changes",
    [{}, {"tie_word_embeddings": False, "feed_forward_proj": "gated-gelu"}],
    ids=["t5", "t5 1.1"],
)
@pytest.mark.parametrize("fusion", ["inline", VisualExpert.Config(positions="sequential")], ids=str)
def test_a_language_model_with_an_encoder_writes_as_ever(
    tmp_path: Path, changes: dict[str, Any], fusion: Any
) -> None:
    language = save_t5(tmp_path / "t5", **changes)
    vision = save_vision(tmp_path / "vision")
    model = IsthmusForConditionalGeneration.from_towers(
        vision=vision, language=language, connector="linear", fusion=fusion
    )
    stock = AutoModelForSeq2SeqLM.from_pretrained(language).eval()
    whole, written = ids(2, 9), ids(2, 5)
    mask = torch.ones_like(whole)
    mask[1, 6:] = 0
    asked = {"input_ids": whole, "attention_mask": mask, "decoder_input_ids": written}
    with torch.no_grad():
        assert torch.equal(model(**asked).logits, stock(**asked).logits)
        labels = {"input_ids": whole, "labels": written}
        torch.testing.assert_close(model(**labels).loss, stock(**labels).loss)
        shown = {"input_ids": prompt_with_image(model), "pixel_values": tiny_pixels(1)}
        one = model(**shown, labels=written[:1]).loss
        other = model(**shown | {"pixel_values": tiny_pixels(1, seed=1)}, labels=written[:1]).loss
        assert one != other  # the encoder sees the image
        how = {"max_new_tokens": 5, "do_sample": False, "eos_token_id": None}
        cached = model.generate(**shown, **how)
        assert torch.equal(cached, model.generate(**shown, **how, use_cache=False))
        assert torch.equal(
            model.generate(input_ids=whole, attention_mask=mask, **how),
            stock.generate(input_ids=whole, attention_mask=mask, **how),
        )
    model.save_pretrained(tmp_path / "saved")
    again = IsthmusForConditionalGeneration.from_pretrained(tmp_path / "saved").eval()
    with torch.no_grad():
        assert torch.equal(again(**shown, labels=written[:1]).loss, one)


@pytest.mark.parametrize("family", ["mt5", "umt5", "longt5", "switch_transformers"])
def test_kin_of_t5_write_as_ever(tmp_path: Path, family: str) -> None:
    language = save_t5(tmp_path / family, family=family)
    model = IsthmusForConditionalGeneration.from_towers(
        vision=save_vision(tmp_path / "vision"), language=language, connector="linear"
    )
    stock = AutoModelForSeq2SeqLM.from_pretrained(language).eval()
    asked = {"input_ids": ids(2, 9), "decoder_input_ids": ids(2, 5)}
    with torch.no_grad():
        assert torch.equal(model(**asked).logits, stock(**asked).logits)


def test_an_encoder_takes_no_fusion_that_is_for_decoders(tmp_path: Path) -> None:
    towers = {"vision": save_vision(tmp_path / "v"), "language": save_t5(tmp_path / "t5")}
    for fusion, reason in (
        ("gated_cross_attention", "reads with an encoder"),
        ("visual_expert", "takes no positions"),  # its default shares one among patches
        (Inline.Config(image_attention="full"), "leave image_attention at 'causal'"),
    ):
        with pytest.raises(ValueError, match=reason):
            IsthmusForConditionalGeneration.from_towers(**towers, fusion=fusion)
