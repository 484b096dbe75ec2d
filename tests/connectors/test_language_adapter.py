"""A small language model as a connector: the stock model's numbers, of any family, and no more."""

import json
import shutil
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

import isthmus
from isthmus import IsthmusForConditionalGeneration, IsthmusProcessor, connectors
from isthmus.axes import Patches
from isthmus.connectors.attentional_pooler import AttentionalPooler
from isthmus.connectors.language_adapter import (
    LanguageAdapter,
    embedding_rms,
    from_language_model,
    load_adapter_weights,
)
from isthmus.connectors.perceiver_resampler import PerceiverResampler
from tests.tiny import LANGUAGE_CONFIGS, save_language, save_vision, tiny_lm, tiny_pixels

Attention = Literal["causal", "bidirectional"]
D_VISION, D_TEXT, GRID = 12, 20, (4, 4)
RESAMPLER = PerceiverResampler.Config(
    num_latents=7, depth=1, num_heads=2, d_head=6, final_norm=False
)
SMOLLM2_135M = {
    "model_type": "llama",
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "max_position_embeddings": 8192,
    "rms_norm_eps": 1e-5,
    "rope_theta": 100000.0,
    "tie_word_embeddings": True,
    "vocab_size": 49152,
}

every_family = pytest.mark.parametrize("family", LANGUAGE_CONFIGS)
every_attention = pytest.mark.parametrize("attention", ["causal", "bidirectional"])


def built(config: LanguageAdapter.Config) -> LanguageAdapter:
    adapter = config.build(d_vision=D_VISION, d_text=D_TEXT, grid=GRID).eval()
    assert isinstance(adapter, LanguageAdapter)
    return adapter


def adapter_of(family: str, attention: Attention = "causal") -> LanguageAdapter:
    settings = {"model_type": family, "vocab_size": 50, "pad_token_id": 0}
    adapter_config = {**settings, **LANGUAGE_CONFIGS[family]}
    adapter = built(
        LanguageAdapter.Config(
            resampler=RESAMPLER, adapter_config=adapter_config, attention=attention
        )
    )
    for parameter in adapter.body.parameters():
        if parameter.ndim > 1:
            nn.init.normal_(parameter, std=0.3)
    return adapter


def patches(images: int) -> Patches:
    return Patches(features=torch.randn(images, 16, D_VISION), grid=GRID)


def change_settings(folder: str, **changes: Any) -> None:
    """Changes the settings of a saved model, not its weights."""
    file = Path(folder) / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


@every_family
@every_attention
def test_tokens_see_what_the_attention_says(family: str, attention: Attention) -> None:
    adapter = adapter_of(family, attention)
    embeds = torch.randn(2, 7, adapter.body.d_text)
    with torch.no_grad():
        before = adapter.body(embeds)
        for changed in range(7):
            others = embeds.clone()
            # Noise, and no shift by a constant, which a layer norm would take away.
            others[:, changed] = torch.randn(2, adapter.body.d_text)
            moved = (adapter.body(others) - before).abs().amax((0, 2))
            # Attention changes all tokens that see this one, by more than rounding.
            seen = moved > 1e-3
            first = changed if attention == "causal" else 0
            assert seen.tolist() == [token >= first for token in range(7)]
            assert (moved[:first] == 0).all()


@every_family
def test_every_parameter_gets_a_gradient_and_no_table_of_words_is_left(family: str) -> None:
    adapter = adapter_of(family)
    tokens = adapter(patches(3))
    assert tokens.shape == (3, 7, D_TEXT)
    (tokens * torch.randn_like(tokens)).sum().backward()
    for name, parameter in adapter.named_parameters():
        assert parameter.grad is not None, name
        if family == "opt" and name.endswith("k_proj.bias"):
            # It moves all scores of a query alike, which softmax does not see.
            continue
        # More than rounding: the scaling of the output alone leaves such a trace.
        assert parameter.grad.abs().max() > 1e-6, name
        assert 50 not in parameter.shape, name


@every_family
def test_with_pretrained_weights_it_computes_what_the_stock_model_computes(
    family: str, tmp_path: Path
) -> None:
    folder = save_language(tmp_path, family)
    adapter = built(from_language_model(folder, resampler=RESAMPLER))
    stock = AutoModelForCausalLM.from_pretrained(folder).eval().base_model
    words = torch.randint(0, 200, (2, 9))
    with torch.no_grad():
        embeds = stock.get_input_embeddings()(words)
        expected = stock(input_ids=words, use_cache=False).last_hidden_state
        assert not torch.equal(adapter.body(embeds), expected)
        load_adapter_weights(adapter, folder)
        assert torch.equal(adapter.body(embeds), expected)


@every_family
def test_the_configuration_is_read_from_a_folder_and_survives_json(
    family: str, tmp_path: Path
) -> None:
    folder = save_language(tmp_path / "tiny", family)
    config = from_language_model(folder, resampler=RESAMPLER, output_rms=0.02)
    table = tiny_lm(family).get_input_embeddings().weight.detach()
    # Gemma looks words up and makes them longer, by the root of their width.
    factor = table.shape[1] ** 0.5 if family == "gemma2" else 1.0
    expected = float(table.square().mean().sqrt()) * factor
    assert config.input_rms == pytest.approx(expected, rel=1e-3)
    assert embedding_rms(folder) == config.input_rms
    text = json.dumps(config.to_dict())
    assert str(tmp_path) not in text
    assert connectors.from_dict(json.loads(text)) == config
    assert (config.output_rms, config.attention, config.resampler) == (0.02, "causal", RESAMPLER)


def test_vectors_have_the_magnitudes_of_words() -> None:
    config = LanguageAdapter.Config(resampler=RESAMPLER, input_rms=0.04, output_rms=0.3)
    adapter = built(config)
    entered: list[Tensor] = []
    adapter.body.register_forward_hook(lambda module, inputs, output: entered.append(inputs[0]))
    # However large what they make of an image is.
    nn.init.normal_(adapter.resampler.projection.weight, std=30.0)
    nn.init.normal_(adapter.projection.weight, std=1e-2)
    tokens = adapter(patches(2))
    for states, rms in ((entered[0], 0.04), (tokens, 0.3)):
        found = states.square().mean(-1).sqrt()
        torch.testing.assert_close(found, torch.full_like(found, rms), rtol=1e-4, atol=0)


def test_positions_are_given_and_no_keys_are_kept() -> None:
    adapter = adapter_of("opt")
    seen: list[dict[str, Any]] = []
    adapter.body.model.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(kwargs), with_kwargs=True
    )
    adapter(patches(3))
    assert seen[0]["position_ids"].tolist() == [list(range(7))] * 3
    assert seen[0]["use_cache"] is False
    assert "attention_mask" not in seen[0]


def test_the_widths_are_those_of_the_words_not_of_the_blocks() -> None:
    adapter = adapter_of("opt")
    assert adapter.body.model.config.hidden_size == 48
    assert adapter.body.d_text == adapter.projection.in_features == 40
    assert adapter.resampler.projection.out_features == 40


@pytest.mark.parametrize("family", ["llama", "opt", "gpt2"])
def test_without_images_every_part_is_trained_all_the_same(family: str) -> None:
    adapter = adapter_of(family)
    tokens = adapter(patches(0))
    assert tokens.shape == (0, 7, D_TEXT)
    tokens.sum().backward()
    for name, parameter in adapter.named_parameters():
        assert parameter.grad is not None, name
        assert (parameter.grad == 0).all(), name


@every_family
def test_weights_and_tables_are_drawn_after_building_without_memory(family: str) -> None:
    config = adapter_of(family).config
    with torch.device("meta"):
        adapter = built(config)
    adapter.to_empty(device="cpu")
    for value in [*adapter.parameters(), *adapter.buffers()]:
        if value.is_floating_point():
            value.data.fill_(float("nan"))
    adapter.reset_parameters()
    usual = built(config)
    for (name, one), (_, other) in zip(adapter.named_buffers(), usual.named_buffers(), strict=True):
        assert torch.equal(one, other), name
    # Loading makes both equal in all that is saved.
    usual.load_state_dict(adapter.state_dict())
    batch = patches(2)
    assert torch.equal(adapter(batch), usual(batch))


def test_the_body_of_smollm2_135m_has_106_million_parameters() -> None:
    config = LanguageAdapter.Config(adapter_config=SMOLLM2_135M)
    with torch.device("meta"):
        adapter = config.build(d_vision=768, d_text=2048, grid=(16, 16))
    assert isinstance(adapter, LanguageAdapter)
    attention = 2 * 576 * 576 + 2 * 576 * (3 * 64)
    block = attention + 3 * 576 * 1536 + 2 * 576
    body = sum(p.numel() for p in adapter.body.parameters())
    assert body == 30 * block + 576 == 106_203_456
    assert config.num_tokens((16, 16)) == 256


@pytest.mark.parametrize(
    ("d_vision", "expected", "papers"),
    [(768, 115_113_344, 120), (1024, 120_834_944, 120), (1408, 132_366_464, 130)],
    ids=["ViT-B", "ViT-L", "ViT-g"],
)
def test_what_the_paper_trains_is_counted_whole(d_vision: int, expected: int, papers: int) -> None:
    """One layer of resampler, the small model and the maps around it; 8 frames, 256 queries."""
    resampler = PerceiverResampler.Config(
        num_latents=256, depth=1, final_norm=False, num_frames=8, d_head=d_vision // 8
    )
    config = LanguageAdapter.Config(resampler=resampler, adapter_config=SMOLLM2_135M)
    with torch.device("meta"):
        adapter = config.build(d_vision=d_vision, d_text=2048, grid=(16, 16))
    latents = (256 + 8) * d_vision
    # Queries, keys, values and output; norms of patches, latents and the feed-forward part.
    layer = 4 * d_vision**2 + 8 * d_vision**2 + 6 * d_vision
    maps = d_vision * 576 + 576 + 576 * 2048 + 2048
    found = sum(p.numel() for p in adapter.parameters())
    assert found == latents + layer + maps + 106_203_456 == expected
    # Tables 5 to 8 print millions to the nearest ten, with a small model of 108 million.
    assert round((found - 106_203_456 + 108e6) / 1e7) * 10 == papers


def test_a_model_with_it_is_saved_and_loaded_without_the_folder(tmp_path: Path) -> None:
    small = save_language(tmp_path / "small", "qwen3", hidden_size=24)
    folders = {
        "vision": save_vision(tmp_path / "vision"),
        "language": save_language(tmp_path / "large"),
    }
    config = from_language_model(
        small,
        attention="bidirectional",
        resampler=RESAMPLER,
        output_rms=embedding_rms(folders["language"]),
    )
    model = IsthmusForConditionalGeneration.from_towers(**folders, connector=config).eval()
    load_adapter_weights(model.model.connector, small)
    pixels = tiny_pixels(2)
    expected = model.model.connect(model.model.encode_images(pixels))
    model.save_pretrained(tmp_path / "model")
    IsthmusProcessor.from_towers(**folders, connector=config).save_pretrained(tmp_path / "model")
    names = load_file(tmp_path / "model" / "model.safetensors")
    assert not [name for name in names if "connector" in name and "embed_tokens" in name]
    shutil.rmtree(small)
    again, _ = isthmus.load(tmp_path / "model")
    assert torch.equal(again.model.connect(again.model.encode_images(pixels)), expected)
    assert not again.model.connector.body.causal


def test_weights_of_another_architecture_are_refused(tmp_path: Path) -> None:
    folder = save_language(tmp_path / "one")
    adapter = built(from_language_model(folder, resampler=RESAMPLER))
    for changes in ({"num_hidden_layers": 3}, {"num_hidden_layers": 1}, {"intermediate_size": 60}):
        other = save_language(tmp_path / str(changes), **changes)
        with pytest.raises(ValueError, match=r"(?s)do not fit the adapter.*from_language_model"):
            load_adapter_weights(adapter, other)


@pytest.mark.parametrize(
    "change",
    [
        {"num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 6},
        {"rope_parameters": {"rope_type": "default", "rope_theta": 2.0}},
        {"hidden_act": "relu"},
    ],
    ids=str,
)
def test_weights_that_fit_by_shape_alone_are_refused(
    change: dict[str, Any], tmp_path: Path
) -> None:
    folder = save_language(tmp_path)
    adapter = built(from_language_model(folder, resampler=RESAMPLER))
    change_settings(folder, **change)
    with pytest.raises(ValueError, match="does not compute what that model does"):
        load_adapter_weights(adapter, folder)


def test_missing_weights_are_not_drawn_at_random(tmp_path: Path) -> None:
    folder = save_language(tmp_path)
    adapter = built(from_language_model(folder, resampler=RESAMPLER))
    weights = load_file(tmp_path / "model.safetensors")
    dropped = next(name for name in weights if "layers.0" in name)
    del weights[dropped]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match="lacks weights of its language model, such as 'layers"):
        load_adapter_weights(adapter, folder)


def test_what_is_no_causal_language_model_is_refused(tmp_path: Path) -> None:
    vision = save_vision(tmp_path)
    for call in (from_language_model, embedding_rms):
        with pytest.raises(ValueError, match="has the model_type 'siglip_vision_model'; expected"):
            call(vision)
    with pytest.raises(ValueError, match="adapter_config has the model_type None"):
        LanguageAdapter.Config(adapter_config={"hidden_size": 4})


def test_a_family_that_is_always_causal_is_refused_as_bidirectional(tmp_path: Path) -> None:
    config = AutoConfig.for_model(
        "gpt_neo",
        hidden_size=24,
        num_layers=2,
        num_heads=2,
        attention_types=[[["global", "local"], 1]],
        vocab_size=50,
        bos_token_id=0,
        eos_token_id=1,
    )
    model: PreTrainedModel = AutoModelForCausalLM.from_config(config)
    model.save_pretrained(tmp_path)
    assert from_language_model(str(tmp_path)).attention == "causal"
    with pytest.raises(ValueError, match="'gpt_neo' model does not know bidirectional attention"):
        from_language_model(str(tmp_path), attention="bidirectional")


def test_more_tokens_than_the_language_model_takes_are_refused() -> None:
    settings = {"model_type": "gpt2", "n_embd": 8, "n_layer": 1, "n_head": 2, "n_positions": 6}
    config = LanguageAdapter.Config(
        resampler=RESAMPLER,
        adapter_config={**settings, "vocab_size": 9, "bos_token_id": 0, "eos_token_id": 1},
    )
    with pytest.raises(ValueError, match="gives 7 tokens, and the adapter's 'gpt2' model takes 6"):
        built(config)


@pytest.mark.parametrize("name", ["input_rms", "output_rms"])
def test_a_magnitude_that_is_not_positive_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"language_adapter.{name} is 0.0; expected more than 0"):
        LanguageAdapter.Config(**{name: 0.0})
    with pytest.raises(ValueError, match="attention is 'prefix'"):
        connectors.from_dict({"kind": "language_adapter", "attention": "prefix"})


def test_a_pooler_can_read_the_patches(tmp_path: Path) -> None:
    front = AttentionalPooler.Config(num_queries=5, num_heads=2, d_head=4)
    config = from_language_model(save_language(tmp_path), resampler=front)
    assert LanguageAdapter.Config.from_dict(config.to_dict()) == config
    adapter = built(config)
    tokens = adapter(patches(2))
    assert tokens.shape == (2, config.num_tokens(GRID), D_TEXT) == (2, 5, D_TEXT)
    assert isinstance(adapter.resampler, AttentionalPooler)
    tokens.square().sum().backward()
    assert all(p.grad is not None for p in adapter.parameters())
    with pytest.raises(ValueError, match=r"resampler is of kind 'mlp'; expected perceiver_res"):
        LanguageAdapter.Config(resampler=connectors.default("mlp"))


def test_the_architecture_alone_is_read_without_weights(tmp_path: Path) -> None:
    folder = save_language(tmp_path / "small", "qwen3")
    config = LanguageAdapter.Config(resampler=RESAMPLER, attention="bidirectional")
    whole = config.fitted(folder, language=save_language(tmp_path / "large"))
    for weights in (tmp_path / "small").glob("*.safetensors"):
        weights.unlink()
    shape = config.shaped(folder)
    assert isinstance(shape, LanguageAdapter.Config)
    assert isinstance(whole, LanguageAdapter.Config)
    assert shape.adapter_config == whole.adapter_config
    assert (shape.attention, shape.input_rms, shape.output_rms) == ("bidirectional", 1.0, 1.0)


def test_a_body_that_is_not_pretrained_has_its_magnitudes_alone(tmp_path: Path) -> None:
    small, large = save_language(tmp_path / "small"), save_language(tmp_path / "large", "qwen3")
    config = LanguageAdapter.Config(resampler=RESAMPLER, pretrained=False)
    whole = config.fitted(small, language=large)
    assert isinstance(whole, LanguageAdapter.Config)
    assert (whole.pretrained, whole.output_rms) == (False, embedding_rms(large))
    adapter = built(whole)
    fresh = {name: value.clone() for name, value in adapter.state_dict().items()}
    adapter.start_from(small)
    assert all(torch.equal(value, fresh[name]) for name, value in adapter.state_dict().items())
    load_adapter_weights(adapter, small)
    assert not torch.equal(
        adapter.body.model.layers[0].mlp.up_proj.weight,
        fresh["body.model.layers.0.mlp.up_proj.weight"],
    )
