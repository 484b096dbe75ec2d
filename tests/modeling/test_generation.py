"""Generation: the cache changes nothing, images are encoded once, any stock option works."""

from pathlib import Path

import pytest
import torch
from transformers import GenerationConfig

from isthmus import IsthmusForConditionalGeneration, IsthmusProcessor
from tests.tiny import LANGUAGE_CONFIGS, tiny_image, tiny_model

TEXTS = ["what is <image> here", "<image>and<image>", "no image at all"]
LENGTH = 8


@pytest.fixture
def inputs(processor: IsthmusProcessor) -> dict[str, torch.Tensor]:
    processor.tokenizer.padding_side = "left"
    images = [tiny_image(i) for i in range(3)]
    return dict(processor(images=images, text=TEXTS, padding=True, return_tensors="pt"))


def answer(
    model: IsthmusForConditionalGeneration, inputs: dict[str, torch.Tensor], **options: object
) -> torch.Tensor:
    settings = {"do_sample": False, "min_new_tokens": LENGTH, "max_new_tokens": LENGTH}
    return model.generate(**inputs, **{**settings, **options})


def greedy(model: IsthmusForConditionalGeneration, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    """Greedy decoding by hand: the whole sequence anew for each token, no cache."""
    ids, mask = inputs["input_ids"], inputs["attention_mask"]
    for _ in range(LENGTH):
        with torch.no_grad():
            logits = model(
                input_ids=ids,
                attention_mask=mask,
                position_ids=(mask.cumsum(1) - 1).clamp(min=0),
                pixel_values=inputs["pixel_values"],
            ).logits[:, -1]
        logits[:, 1] = -torch.inf  # the end token, which min_new_tokens holds back
        ids = torch.cat([ids, logits.argmax(-1, keepdim=True)], dim=1)
        mask = torch.cat([mask, torch.ones_like(mask[:, :1])], dim=1)
    return ids


def test_cached_generation_equals_decoding_by_hand(
    model: IsthmusForConditionalGeneration, inputs: dict[str, torch.Tensor]
) -> None:
    expected = greedy(model, inputs)
    assert torch.equal(answer(model, inputs), expected)
    assert torch.equal(answer(model, inputs, use_cache=False), expected)
    # The images matter: other ones, other answers.
    others = {**inputs, "pixel_values": 255 - inputs["pixel_values"]}
    changed = answer(model, others)
    assert not torch.equal(changed[:2], expected[:2])
    assert torch.equal(changed[2], expected[2])


def test_a_static_cache_changes_nothing(
    model: IsthmusForConditionalGeneration, inputs: dict[str, torch.Tensor]
) -> None:
    static = answer(model, inputs, cache_implementation="static")
    assert torch.equal(static, answer(model, inputs))


@pytest.mark.parametrize("use_cache", [True, False])
def test_images_are_encoded_once(
    model: IsthmusForConditionalGeneration, inputs: dict[str, torch.Tensor], use_cache: bool
) -> None:
    calls = []
    model.model.vision_tower.register_forward_hook(lambda *_: calls.append(1))
    answer(model, inputs, use_cache=use_cache)
    assert len(calls) == 1


def test_patch_features_generate_what_pixels_do(
    model: IsthmusForConditionalGeneration, inputs: dict[str, torch.Tensor]
) -> None:
    expected = answer(model, inputs)
    kept = model.encode_images(inputs.pop("pixel_values")).features
    model.model.vision_tower = None
    assert torch.equal(answer(model, {**inputs, "patch_features": kept}), expected)


def test_beams_keep_each_sample_with_its_images(
    model: IsthmusForConditionalGeneration, inputs: dict[str, torch.Tensor]
) -> None:
    together = answer(model, inputs, num_beams=3)
    row = {name: inputs[name][1:2] for name in ("input_ids", "attention_mask")}
    alone = answer(model, {**row, "pixel_values": inputs["pixel_values"][1:]}, num_beams=3)
    assert torch.equal(together[1], alone[0])


@pytest.mark.parametrize(
    "option", [{"repetition_penalty": 1.5}, {"no_repeat_ngram_size": 1}], ids=str
)
def test_options_that_look_at_the_prompt_pass_over_the_placeholder(
    model: IsthmusForConditionalGeneration,
    inputs: dict[str, torch.Tensor],
    option: dict[str, float],
) -> None:
    new = answer(model, inputs, **option)[:, -LENGTH:]
    assert not torch.equal(new, answer(model, inputs)[:, -LENGTH:])
    if "no_repeat_ngram_size" in option:
        assert all(len(set(row.tolist())) == LENGTH for row in new)


@pytest.mark.parametrize("family", LANGUAGE_CONFIGS)
def test_every_family_generates_with_a_cache(family: str, tmp_path: Path) -> None:
    model, processor = tiny_model(tmp_path, language=family, connector="linear")
    processor.tokenizer.padding_side = "left"
    images = [tiny_image(i) for i in range(3)]
    inputs = processor(images=images, text=TEXTS, padding=True, return_tensors="pt")
    expected = greedy(model, inputs)
    assert torch.equal(answer(model, dict(inputs)), expected)
    assert torch.equal(answer(model, dict(inputs), cache_implementation="static"), expected)


def test_a_second_turn_may_bring_another_image(
    model: IsthmusForConditionalGeneration, processor: IsthmusProcessor
) -> None:
    first = processor(images=[tiny_image(0)], text=["<image>one"], return_tensors="pt")
    both = processor(
        images=[tiny_image(0), tiny_image(1)], text=["<image>one<image>two"], return_tensors="pt"
    )
    seen = first["input_ids"].shape[1]
    with torch.no_grad():
        cache = model(**first, use_cache=True).past_key_values
        rest = model(
            input_ids=both["input_ids"][:, seen:],
            pixel_values=both["pixel_values"][1:],
            past_key_values=cache,
        ).logits
        whole = model(**both).logits
    torch.testing.assert_close(rest, whole[:, seen:], atol=1e-4, rtol=0)


def test_the_authors_generation_settings_are_kept(tmp_path: Path) -> None:
    from tests.tiny import save_language, save_vision

    language = save_language(tmp_path / "language")
    GenerationConfig(eos_token_id=[1, 7], pad_token_id=2, do_sample=True, top_k=5).save_pretrained(
        language
    )
    model = IsthmusForConditionalGeneration.from_towers(
        vision=save_vision(tmp_path / "vision"), language=language
    )
    assert model.generation_config.eos_token_id == [1, 7]
    model.save_pretrained(tmp_path / "saved")
    loaded = IsthmusForConditionalGeneration.from_pretrained(tmp_path / "saved")
    assert loaded.generation_config.top_k == 5
