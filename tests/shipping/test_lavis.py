"""Files of LAVIS, there and back, beside transformers' conversion of them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import PreTrainedModel

import isthmus
from isthmus import IsthmusForAlignment, IsthmusForConditionalGeneration
from isthmus.modeling.alignment import Texts
from isthmus.shipping.export import export
from isthmus.shipping.import_ import import_model
from isthmus.shipping.to_lavis import FILE
from tests.shipping.published import (
    LANGUAGE,
    close,
    pixels,
    prompts,
    save_generation,
    save_retrieval,
    texts,
)
from tests.shipping.test_retrieval import same_answers
from tests.tiny import t5_byte_tokenizer, tiny_tokenizer
from tests.tiny_alignment import VOCAB, text_tokenizer

D_HIDDEN = 128
# As transformers' script for LAVIS's files renames them, the other way round.
RENAMED = (
    ("vision_model.embeddings.class_embedding", "visual_encoder.cls_token"),
    ("vision_model.embeddings.position_embedding", "visual_encoder.pos_embed"),
    ("vision_model.embeddings.patch_embedding", "visual_encoder.patch_embed.proj"),
    ("vision_model.post_layernorm", "ln_vision"),
    ("vision_model.encoder.layers", "visual_encoder.blocks"),
    ("layer_norm", "norm"),
    ("self_attn.qkv", "attn.qkv"),
    ("self_attn.projection", "attn.proj"),
    ("attention.attention", "attention.self"),
    ("qformer.layernorm", "Qformer.bert.embeddings.LayerNorm"),
    ("qformer.encoder", "Qformer.bert.encoder"),
    ("vision_projection", "vision_proj"),
    ("text_projection", "text_proj"),
)


def lavis_weights(stock: PreTrainedModel, projection: str = "") -> dict[str, Tensor]:
    """The weights of a model of transformers as LAVIS keeps them."""
    weights = {}
    for name, value in stock.state_dict().items():
        if name.startswith("language_model."):
            continue
        if name.startswith("embeddings."):
            name = f"Qformer.bert.{name}"
        name = name.replace("language_projection", projection)
        for theirs, lavis in RENAMED:
            name = name.replace(theirs, lavis)
        if name.endswith("attn.qkv.bias"):
            stem = name.removesuffix("qkv.bias")
            weights[f"{stem}q_bias"], _, weights[f"{stem}v_bias"] = value.chunk(3)
        else:
            weights[name] = value
    return {name: value.clone() for name, value in weights.items()}


def second_stage(stock: PreTrainedModel, projection: str = "llm_proj") -> dict[str, Tensor]:
    """The same of a model that answers; a Q-Former that reads holds its embeddings itself."""
    return {
        name.replace("qformer.embeddings.layernorm", "Qformer.bert.embeddings.LayerNorm").replace(
            "qformer.embeddings", "Qformer.bert.embeddings"
        ): value
        for name, value in lavis_weights(stock, projection).items()
    }


def as_lavis_computes(stock: PreTrainedModel) -> PreTrainedModel:
    """No bias of keys, and an epsilon of its own in the last norm."""
    for name, value in stock.state_dict().items():
        if name.endswith("self_attn.qkv.bias"):
            value.chunk(3)[1].zero_()
    stock.vision_model.post_layernorm.eps = 1e-5
    return stock


def first_stage(folder: Path, **changes: int) -> tuple[PreTrainedModel, dict[str, Tensor]]:
    """A first stage as transformers holds it, and all weights that LAVIS has of it."""
    stock = as_lavis_computes(save_retrieval(folder / "stock", **changes))
    head = "Qformer.cls.predictions"
    weights = {
        **lavis_weights(stock),
        "temp": torch.tensor(0.05),
        f"{head}.transform.dense.weight": torch.randn(D_HIDDEN, D_HIDDEN),
        f"{head}.transform.dense.bias": torch.randn(D_HIDDEN),
        f"{head}.transform.LayerNorm.weight": torch.randn(D_HIDDEN),
        f"{head}.transform.LayerNorm.bias": torch.randn(D_HIDDEN),
        f"{head}.bias": torch.randn(VOCAB),
    }
    text_tokenizer().save_pretrained(folder / "text")
    return stock, weights


def without(weights: Mapping[str, Tensor], *prefixes: str) -> dict[str, Tensor]:
    return {name: value for name, value in weights.items() if not name.startswith(prefixes)}


def same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[n], other[n]) for n in one)


def test_a_first_stage_there_and_back(tmp_path: Path) -> None:
    stock, weights = first_stage(tmp_path)
    redundant = {
        "Qformer.bert.embeddings.position_ids": torch.arange(32)[None],
        "Qformer.cls.predictions.decoder.weight": weights[
            "Qformer.bert.embeddings.word_embeddings.weight"
        ],
    }
    torch.save({"model": {**weights, **redundant}, "epoch": 3}, tmp_path / "first.pth")
    imported = import_model(str(tmp_path / "first.pth"), kind="lavis", text=str(tmp_path / "text"))
    model = imported.model
    assert isinstance(model, IsthmusForAlignment)
    assert imported.notes == ()
    assert model.config.qformer.patch_norm_eps == 1e-5
    assert model.temperature == torch.tensor(0.05)
    same_answers(model, stock)

    settings, sizes = export(model, imported.processor, "lavis", tmp_path / "back")
    assert settings.endswith("configuration of the model: num_query_token 4, image_size 16")
    assert sizes.endswith(
        "the tower's width is 176 (1408), the tower's inner width is 40 (6144), the tower's depth "
        "is 2 (39), the tower's patch size is 4 (14), qformer.d_hidden is 128 (768), qformer.d_ffn "
        "is 48 (3072), qformer.depth is 3 (12), qformer.num_heads is 2 (12), d_embedding is 12 "
        "(256), qformer.text.vocab_size is 15 (30523), qformer.text.num_positions is 32 (512)"
    )
    back = torch.load(tmp_path / "back" / FILE, weights_only=True)["model"]
    assert same(back, weights)


def test_a_text_side_with_few_positions(tmp_path: Path) -> None:
    stock, weights = first_stage(tmp_path, max_position_embeddings=20)
    torch.save(weights, tmp_path / "first.pth")
    model, processor = _alignment(
        import_model(str(tmp_path / "first.pth"), kind="lavis", text=str(tmp_path / "text"))
    )
    assert processor.max_caption_tokens == 20
    same_answers(model, stock)


def test_a_bias_of_keys_changes_nothing(tmp_path: Path) -> None:
    first_stage(tmp_path)
    save_retrieval(tmp_path / "biased")
    model, processor = _alignment(import_model(str(tmp_path / "biased")))
    note, *_ = export(model, processor, "lavis", tmp_path / "lavis")
    assert "epsilon 1e-06 here and 1e-05 there" in note
    again, _ = _alignment(
        import_model(str(tmp_path / "lavis" / FILE), kind="lavis", text=str(tmp_path / "text"))
    )
    again.qformer.patch_norm.eps = 1e-6
    own, _ = pixels(2)
    given = Texts(**texts(2))
    with torch.no_grad():
        found, expected = (
            each.match(each.see(each.encode_images(own)), given) for each in (again, model)
        )
    close(found, expected)


def _alignment(imported: Any) -> tuple[IsthmusForAlignment, Any]:
    assert isinstance(imported.model, IsthmusForAlignment)
    return imported.model, imported.processor


@pytest.mark.parametrize(
    ("language", "projection", "reads"),
    [("opt", "opt_proj", False), ("t5", "t5_proj", False), ("llama", "llm_proj", True)],
)
def test_a_second_stage_there_and_back(
    language: str, projection: str, reads: bool, tmp_path: Path
) -> None:
    text = {"model_type": language, **LANGUAGE[language]}
    if language == "t5":
        text["dense_act_fn"] = "gelu"  # as LAVIS sets it
    folder = tmp_path / "stock"
    stock = as_lavis_computes(
        save_generation(folder, language=language, reads=reads, text_config=text)
    )
    stock.language_model.config.dense_act_fn = "gelu_new"
    stock.language_model.save_pretrained(tmp_path / "lm")
    (t5_byte_tokenizer() if language == "t5" else tiny_tokenizer()).save_pretrained(tmp_path / "lm")
    text_tokenizer().save_pretrained(tmp_path / "text")
    weights = second_stage(stock, projection)
    save_file(weights, tmp_path / "second.safetensors")
    imported = import_model(
        str(tmp_path / "second.safetensors"),
        kind="lavis",
        language=str(tmp_path / "lm"),
        text=str(tmp_path / "text") if reads else None,
    )
    model = imported.model
    assert isinstance(model, IsthmusForConditionalGeneration)
    assert [("exact GELU" in note) for note in imported.notes] == [True] * (language == "t5")
    ends = {"opt": [imported.processor.tokenizer("\n").input_ids[0]]}.get(language, [1])
    assert [model.generation_config.eos_token_id] == ends

    own, theirs = pixels(2)
    words = {f"qformer_{n}": value for n, value in texts(2).items()} if reads else {}
    if language == "t5":
        words["decoder_input_ids"] = torch.randint(3, 256, (2, 5))
    ids = prompts(2)
    with torch.no_grad():
        expected = stock(pixel_values=theirs, input_ids=ids, **words).logits
        close(model(pixel_values=own, input_ids=ids, **words).logits, expected)
    if language == "t5":
        imported.save(tmp_path / "ours")
        assert isthmus.load(tmp_path / "ours")[0].config.text_config.dense_act_fn == "gelu"

    settings, sizes, note = export(model, imported.processor, "lavis", tmp_path / "back")
    assert "num_query_token 4" in settings
    assert "qformer.depth is 3 (12)" in sizes
    assert "d_embedding" not in sizes
    assert "holds no language model" in note
    back = torch.load(tmp_path / "back" / FILE, weights_only=True)["model"]
    assert same(back, weights)


@pytest.mark.parametrize("where", ["file", "folder"])
def test_a_tower_of_its_own(where: str, tmp_path: Path) -> None:
    stock, weights = first_stage(tmp_path)
    torch.save(without(weights, "visual_encoder."), tmp_path / "first.pth")
    vision = tmp_path / "stock"
    if where == "file":
        # LAVIS's own file has a block more than it builds, and the norm and head behind it.
        tower = {
            name.removeprefix("visual_encoder."): value
            for name, value in weights.items()
            if name.startswith("visual_encoder.")
        }
        last = {
            n.replace(".1.", ".2."): v + 1 for n, v in tower.items() if n.startswith("blocks.1.")
        }
        vision = tmp_path / "eva_vit_g.pth"
        torch.save({**tower, **last, "norm.weight": torch.ones(176)}, vision)
    else:
        stock.save_pretrained(vision)  # without the bias of keys
    model, _ = _alignment(
        import_model(
            str(tmp_path / "first.pth"),
            kind="lavis",
            vision=str(vision),
            text=str(tmp_path / "text"),
        )
    )
    same_answers(model, stock)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"Qformer.cls.predictions.bias": None}, "'Qformer.cls.predictions.bias' of shape"),
        ({"temp": None}, "lacks 1 of the weights .* such as 'temp' of shape"),
        ({"ln_vision.bias": torch.zeros(3)}, r"'ln_vision.bias' of shape \(3,\).* ask for \(176,"),
        (
            {"visual_encoder.blocks.1.attn.q_bias": None},
            "such as 'visual_encoder.blocks.1.attn.q_bias' of shape",
        ),
        ({"visual_encoder.pos_embed": None}, "lacks 'pos_embed'"),
        ({"query_tokens": None}, "lack 'query_tokens'"),
        ({"vision_proj.weight": None}, "neither a first stage of BLIP-2 .* nor a second"),
        ({"extra.weight": torch.zeros(1)}, "'extra.weight' has no place in this layout"),
    ],
)
def test_a_weight_that_is_missing_or_misshapen_is_named(
    change: dict[str, Tensor | None], message: str, tmp_path: Path
) -> None:
    _, weights = first_stage(tmp_path)
    changed = {n: v for n, v in {**weights, **change}.items() if v is not None}
    torch.save(changed, tmp_path / "first.pth")
    with pytest.raises(ValueError, match=message):
        import_model(str(tmp_path / "first.pth"), kind="lavis", text=str(tmp_path / "text"))


@pytest.mark.parametrize(
    ("held", "message"),
    [
        ({"model": {"temp": Path("code")}}, "cannot be read as tensors alone"),
        ({"model": [1]}, "holds no state dict"),
        (None, "there is no file"),
        ("folder", "first.pth is a folder, .*; expected its .pth or .safetensors; .* leave out"),
    ],
)
def test_a_file_of_other_things_is_refused(held: Any, message: str, tmp_path: Path) -> None:
    if held == "folder":
        (tmp_path / "first.pth").mkdir()
    elif held is not None:
        torch.save(held, tmp_path / "first.pth")
    with pytest.raises(ValueError, match=message):
        import_model(str(tmp_path / "first.pth"), kind="lavis", text="text")
