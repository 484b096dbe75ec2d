"""What every fusion promises, for every family of language models; a new file is tested at once."""

import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

from isthmus import IsthmusForConditionalGeneration
from isthmus import fusion as fusions
from isthmus.connectors import ConnectorConfig
from isthmus.fusion import FusionConfig
from isthmus.training.freeze import recomputed_layers
from tests.tiny import LANGUAGE_CONFIGS, save_t5, save_vision, tiny_lm, tiny_model, tiny_pixels

VOCAB = 259
TEXT = (3, VOCAB)


def variants() -> list[FusionConfig]:
    """Each kind with its defaults, and with each other choice of each of its fields."""
    found = []
    for kind in fusions.names():
        config = fusions.default(kind)
        found.append(config)
        for field in fields(config):
            for value in CHOICES.get((kind, field.name), ()):
                found.append(type(config)(**{field.name: value}))
    return found


CHOICES: dict[tuple[str, str], tuple[Any, ...]] = {
    ("inline", "positions"): ("shared",),
    ("inline", "image_attention"): ("full",),
    # Absent, numbers as wide as these grow beyond measure from layer to layer.
    ("visual_expert", "norm"): ("copied", "random"),
    ("visual_expert", "qkv"): ("shared", "random", "low_rank"),
    ("visual_expert", "qkv_bias"): (True,),
    ("visual_expert", "output"): ("shared", "low_rank", "absent"),
    ("visual_expert", "mlp"): ("shared", "random", "low_rank", "absent"),
    ("visual_expert", "every"): (2,),
    ("visual_expert", "layers"): ((1,),),
    ("visual_expert", "last_token"): ("visual",),
    ("visual_expert", "positions"): ("sequential",),
    ("visual_expert", "image_attention"): ("full",),
    ("gated_cross_attention", "sees"): ("all",),
    ("gated_cross_attention", "every"): (2,),
    ("gated_cross_attention", "d_visual"): (20,),
}

REMEDIES = "choose the fusion 'inline'|set positions to|leave image_attention at"

LATER = ("qkv", "output", "mlp", "norm")
"""Fields whose other choices the fast tests pass over: each changes weights, not what sees what."""


def marked() -> Iterator[Any]:
    """The variants, of which some are tried later."""
    for config in variants():
        usual = fusions.default(config.kind)
        is_later = any(getattr(config, f, None) != getattr(usual, f, None) for f in LATER)
        yield pytest.param(config, marks=pytest.mark.slow if is_later else [])


every_variant = pytest.mark.parametrize("config", list(marked()), ids=str)
RARE = ("gpt_neox", "cohere", "granite", "phi")
"""Families that the fast tests pass over."""
every_family = pytest.mark.parametrize(
    "family",
    [pytest.param(f, marks=pytest.mark.slow) if f in RARE else f for f in LANGUAGE_CONFIGS],
)
every_kind = pytest.mark.parametrize("kind", fusions.names())


def built(
    folder: Path,
    config: FusionConfig | str,
    family: str = "llama",
    connector: ConnectorConfig | str = "linear",
) -> IsthmusForConditionalGeneration:
    """A tiny model whose fusion has weights that tell its rows apart."""
    model, _ = tiny_model(folder, language=family, connector=connector, fusion=config)
    return spread(model)


def spread(model: IsthmusForConditionalGeneration) -> IsthmusForConditionalGeneration:
    """Moves a fusion away from where it starts."""
    with torch.no_grad():
        for part in model.model.fusion.parts():
            for parameter in part.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.2)
    return model


def text(*shape: int) -> Tensor:
    return torch.randint(*TEXT, shape)


def shown(model: IsthmusForConditionalGeneration, *, before: int = 2, after: int = 5) -> Tensor:
    """One sample: words, an image, words."""
    image = torch.full((1, model.config.num_placeholders), model.config.image_token_id)
    return torch.cat([text(1, before), image, text(1, after)], dim=1)


@every_family
@every_kind
def test_text_alone_has_the_language_models_own_logits(
    tmp_path: Path, kind: str, family: str
) -> None:
    model = built(tmp_path, kind, family)
    stock = AutoModelForCausalLM.from_pretrained(tmp_path / family)
    ids = text(2, 11)
    padded = torch.ones_like(ids)
    padded[1, 7:] = 0
    for mask in (None, padded, padded.flip(1)):
        with torch.no_grad():
            expected = stock(input_ids=ids, attention_mask=mask).logits
            assert torch.equal(model(input_ids=ids, attention_mask=mask).logits, expected)
        # While training, each part takes part in a batch of text alone, and still changes nothing.
        # (Only what decides that is in training mode: dropout would change any model.)
        model.model.training = True
        model.model.fusion.training = True
        assert torch.equal(model(input_ids=ids, attention_mask=mask).logits, expected)
        model.eval()


def test_every_file_of_the_folder_is_tested() -> None:
    files = {file.stem for file in Path(fusions.__file__).parent.glob("[!_]*.py")}
    assert {config.kind for config in variants()} == files - {"base"}


@every_variant
def test_a_language_model_with_an_encoder_is_served_or_refused_when_it_is_built(
    tmp_path: Path, config: FusionConfig
) -> None:
    towers = {"vision": save_vision(tmp_path / "vision"), "language": save_t5(tmp_path / "t5")}
    model, refusal = None, ""
    try:
        model = IsthmusForConditionalGeneration.from_towers(
            **towers, connector="linear", fusion=config
        )
    except ValueError as error:
        refusal = str(error)
    if model is None:
        assert re.search(f"^T5Model .*; ({REMEDIES})", refusal)
        return
    stock = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "t5").eval()
    asked = {"input_ids": text(2, 9), "decoder_input_ids": text(2, 4)}
    seen = shown(spread(model))
    with torch.no_grad():
        assert torch.equal(model(**asked).logits, stock(**asked).logits)
        one, other = (
            model(input_ids=seen, pixel_values=p[None], decoder_input_ids=text(1, 4)).logits
            for p in tiny_pixels(2)
        )
    assert not torch.equal(one, other)


@pytest.mark.parametrize(
    "config",
    # As published, a word that sees all images before it sees the mean of those to come, too.
    [config for config in variants() if getattr(config, "sees", "latest") == "latest"],
    ids=str,
)
def test_what_stands_before_an_image_does_not_see_it(tmp_path: Path, config: FusionConfig) -> None:
    model = built(tmp_path, config)
    ids, pixels = shown(model, before=4), tiny_pixels(2)
    with torch.no_grad():
        one, other = (model(input_ids=ids, pixel_values=p[None]).logits[0] for p in pixels)
    torch.testing.assert_close(one[:4], other[:4], atol=1e-5, rtol=0)
    assert (one[4:] - other[4:]).abs().amax(-1).min() > 1e-6


@every_variant
def test_gradients_reach_the_fusion_and_not_what_is_frozen(
    tmp_path: Path, config: FusionConfig
) -> None:
    model = built(tmp_path, config).requires_grad_(False)
    parts = model.parts()
    learning = {
        id(p): p
        for name in ("fusion", "connector")
        if name in parts
        for p in parts[name].parameters()
    }
    for parameter in learning.values():
        parameter.requires_grad_(True)
    ids = shown(model)
    labels = torch.where(ids == model.config.image_token_id, -100, ids)
    model.train()
    model(input_ids=ids, pixel_values=tiny_pixels(1), labels=labels).loss.backward()
    for name, parameter in model.named_parameters():
        assert (parameter.grad is not None) == (id(parameter) in learning), name
        # What the last layer makes of visual tokens is read by nobody, but for keys and values.
        is_read = ".layers.1." not in name or "k_proj" in name or "v_proj" in name
        if getattr(config, "output", "") == "absent":
            is_read = is_read and "q_proj" not in name  # whom they attend to is dropped
        if parameter.grad is not None and is_read:
            assert parameter.grad.abs().sum() > 0, name


@every_family
@every_kind
def test_recomputing_layers_changes_no_gradient(tmp_path: Path, kind: str, family: str) -> None:
    model = built(tmp_path, kind, family)
    ids = shown(model)
    labels = torch.where(ids == model.config.image_token_id, -100, ids)

    def gradients() -> Iterator[Tensor]:
        model.zero_grad()
        torch.manual_seed(0)  # for the families that drop out in training
        model(input_ids=ids, pixel_values=tiny_pixels(1), labels=labels).loss.backward()
        return (p.grad.clone() for p in model.parameters() if p.grad is not None)

    model.train()
    plain = list(gradients())
    with recomputed_layers(model, enabled=True):
        recomputed = list(gradients())
    for one, other in zip(plain, recomputed, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-5)


@every_variant
@pytest.mark.parametrize("cache", ["dynamic", "static"])
def test_cached_generation_equals_uncached(
    tmp_path: Path, config: FusionConfig, cache: str
) -> None:
    model = built(tmp_path, config)
    ids, mask = batch_of_two(model)
    asked = {"input_ids": ids, "attention_mask": mask, "pixel_values": tiny_pixels(1)}
    how = {"max_new_tokens": 6, "do_sample": False, "eos_token_id": None}
    cached = model.generate(**asked, **how, cache_implementation=cache)
    assert torch.equal(cached, model.generate(**asked, **how, use_cache=False))


@every_variant
def test_what_is_written_first_is_what_training_would_expect(
    tmp_path: Path, config: FusionConfig
) -> None:
    """The positions of generation are those of training, whatever the fusion counts."""
    model = built(tmp_path, config)
    ids, pixels = shown(model), tiny_pixels(1)
    with torch.no_grad():
        expected = model(input_ids=ids, pixel_values=pixels).logits[:, -1]
    how = {"max_new_tokens": 1, "output_logits": True, "return_dict_in_generate": True}
    written = model.generate(input_ids=ids, pixel_values=pixels, do_sample=False, **how)
    torch.testing.assert_close(written.logits[0], expected, atol=1e-5, rtol=1e-5)


def batch_of_two(model: IsthmusForConditionalGeneration) -> tuple[Tensor, Tensor]:
    """A sample with an image, and one of text alone, padded on the left."""
    seen = shown(model)
    alone = text(1, 4)
    room = seen.shape[1] - alone.shape[1]
    padding = torch.full((1, room), 2)
    ids = torch.cat([seen, torch.cat([padding, alone], dim=1)])
    mask = torch.ones_like(ids)
    mask[1, :room] = 0
    return ids, mask


@every_variant
def test_a_sample_alone_is_the_same_in_a_padded_batch(tmp_path: Path, config: FusionConfig) -> None:
    model = built(tmp_path, config)
    short, long = shown(model, after=3), shown(model, before=5, after=6)
    room = long.shape[1] - short.shape[1]
    pixels = tiny_pixels(2)
    with torch.no_grad():
        alone = model(input_ids=short, pixel_values=pixels[:1]).logits[0]
        for side in ("left", "right"):
            pad = (room, 0) if side == "left" else (0, room)
            ids = torch.cat([torch.nn.functional.pad(short, pad, value=2), long])
            mask = torch.ones_like(ids)
            mask[0] = torch.nn.functional.pad(torch.ones_like(short[0]), pad)
            found = model(input_ids=ids, attention_mask=mask, pixel_values=pixels).logits[0]
            torch.testing.assert_close(found[mask[0] == 1], alone, atol=2e-5, rtol=0)


@every_variant
def test_packed_samples_do_not_see_each_other(tmp_path: Path, config: FusionConfig) -> None:
    model = built(tmp_path, config)
    samples = [shown(model), text(1, 6), shown(model, before=3, after=2)]
    pixels = tiny_pixels(2)
    segments = torch.cat([torch.full((s.shape[1],), n) for n, s in enumerate(samples)])[None]
    with torch.no_grad():
        packed = model(
            input_ids=torch.cat(samples, dim=1), pixel_values=pixels, segments=segments
        ).logits[0]
        apart = [
            model(input_ids=samples[0], pixel_values=pixels[:1]).logits[0],
            model(input_ids=samples[1]).logits[0],
            model(input_ids=samples[2], pixel_values=pixels[1:]).logits[0],
        ]
    torch.testing.assert_close(packed, torch.cat(apart), atol=2e-5, rtol=0)


@every_family
@every_kind
def test_every_family_answers_with_a_cache_as_without(
    tmp_path: Path, kind: str, family: str
) -> None:
    model = built(tmp_path, kind, family)
    ids, mask = batch_of_two(model)
    asked = {"input_ids": ids, "attention_mask": mask, "pixel_values": tiny_pixels(1)}
    how = {"max_new_tokens": 6, "do_sample": False, "eos_token_id": None}
    assert torch.equal(
        model.generate(**asked, **how), model.generate(**asked, **how, use_cache=False)
    )


@every_family
@every_kind
def test_every_family_reads_a_padded_and_a_packed_sample_as_if_alone(
    tmp_path: Path, kind: str, family: str
) -> None:
    """Packed samples are longer than the window that some families' layers have."""
    model = built(tmp_path, kind, family)
    samples = [shown(model, after=3), text(1, 18), shown(model, before=5, after=6)]
    pixels = tiny_pixels(2)
    images = [pixels[:1], None, pixels[1:]]
    segments = torch.cat([torch.full((s.shape[1],), n) for n, s in enumerate(samples)])[None]
    longest = max(s.shape[1] for s in samples)
    rows = [torch.nn.functional.pad(s, (0, longest - s.shape[1]), value=-1) for s in samples]
    mask = torch.cat(rows).ne(-1).long()
    with torch.no_grad():
        alone = [
            model(input_ids=s, pixel_values=p).logits[0]
            for s, p in zip(samples, images, strict=True)
        ]
        batch = model(
            input_ids=torch.cat(rows).clamp(min=0), attention_mask=mask, pixel_values=pixels
        )
        packed = model(input_ids=torch.cat(samples, dim=1), pixel_values=pixels, segments=segments)
    expected = torch.cat(alone)
    torch.testing.assert_close(batch.logits[mask.bool()], expected, atol=5e-5, rtol=0)
    torch.testing.assert_close(packed.logits[0], expected, atol=5e-5, rtol=0)


@every_variant
def test_a_saved_model_is_the_same_to_the_bit(tmp_path: Path, config: FusionConfig) -> None:
    model = built(tmp_path, config)
    model.save_pretrained(tmp_path / "saved")
    again = IsthmusForConditionalGeneration.from_pretrained(tmp_path / "saved").eval()
    assert again.config.fusion == config
    ids, pixels = shown(model), tiny_pixels(1)
    with torch.no_grad():
        expected = model(input_ids=ids, pixel_values=pixels).logits
        assert torch.equal(again(input_ids=ids, pixel_values=pixels).logits, expected)


@every_variant
def test_a_model_builds_without_memory(tmp_path: Path, config: FusionConfig) -> None:
    model = built(tmp_path, config)
    with torch.device("meta"):
        empty = IsthmusForConditionalGeneration(model.config)
    assert {p.device.type for p in empty.parameters()} == {"meta"}
    assert {n: p.shape for n, p in empty.named_parameters()} == {
        n: p.shape for n, p in model.named_parameters()
    }


@every_variant
def test_half_precision_is_near(tmp_path: Path, config: FusionConfig) -> None:
    model = built(tmp_path, config)
    ids, pixels = shown(model), tiny_pixels(1)
    with torch.no_grad():
        exact = model(input_ids=ids, pixel_values=pixels).logits
        rounded = model.to(torch.bfloat16)(input_ids=ids, pixel_values=pixels).logits
    assert rounded.dtype == torch.bfloat16
    assert (rounded.float() - exact).abs().mean() < 0.1 * exact.abs().mean()


def test_the_language_model_keeps_its_names(tmp_path: Path) -> None:
    stock = set(tiny_lm().base_model.state_dict())
    for kind in fusions.names():
        model = built(tmp_path / kind, kind)
        held = set(model.model.language_model.state_dict())
        brought = {name for name in held - stock if "fusion" not in name}
        assert stock <= held
        assert all("visual_expert" in name or "gated" in name for name in brought)
