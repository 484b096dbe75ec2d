"""What a target cannot hold, and what a source lacks: named, with the reason."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, CLIPConfig

from isthmus.connectors._qformer_text import TextSide
from isthmus.connectors.qformer import QFormer
from isthmus.fusion.gated_cross_attention import GatedCrossAttention
from isthmus.fusion.inline import Inline
from isthmus.shipping.export import export
from isthmus.shipping.import_ import import_model
from isthmus.vision.choice import TowerChoice
from tests.shipping.published import PLACEHOLDER, save_generation, save_retrieval
from tests.shipping.test_lavis import second_stage
from tests.tiny import save_vision, tiny_model, tiny_tokenizer
from tests.tiny_alignment import (
    VOCAB,
    alignment_processor,
    save_bert,
    text_tokenizer,
    tiny_alignment,
)

QFORMER: dict[str, Any] = {"num_queries": 2, "depth": 1, "d_hidden": 16, "num_heads": 2}
EVA = {"vision": "blip_2_vision_model", "vision_prefix": True}
READS = {"text": TextSide(vocab_size=VOCAB, num_positions=12)}


@pytest.mark.parametrize("target", ["blip2", "lavis"])
@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"vision": "siglip_vision_model"}, "'siglip_vision_model' model, and .* EVA-style towers"),
        ({"vision": "clip_vision_model"}, "'clip_vision_model' model, and .* EVA-style towers"),
        ({"vision": "dinov2", "vision_prefix": True}, "'dinov2' model, and .* EVA-style towers"),
        ({"beside": True, "vision": "blip_2_vision_model"}, "has 2 vision towers, and .* hold one"),
        ({**EVA, "vision_layer": (-2, -3)}, r"reads layers \[-2, -3\]"),
        ({**EVA, "vision_prefix": False}, "vision_prefix False; BLIP-2's layouts read one layer"),
        ({**EVA, "vision_layer": -1}, "one norm between .* this model has two"),
        ({**EVA, "qformer": {"patch_norm_eps": None}}, "one norm between .* this model has none"),
        ({**EVA, "connector": "mlp", "vision_prefix": False}, "connector is .*'kind': 'mlp'"),
        ({**EVA, "connector": "perceiver_resampler", "vision_prefix": False}, "connector is "),
        (
            {**EVA, "qformer": {"project": False, "d_hidden": 48}},
            "Q-Former with a projection, and .* 'project': False",
        ),
        ({**EVA, "fusion": Inline.Config(positions="shared")}, "fusion is .*'shared'"),
        ({**EVA, "fusion": GatedCrossAttention.Config()}, "fusion is .*'gated_cross_attention'"),
    ],
    ids=str,
)
def test_a_model_that_a_target_cannot_hold(
    target: str, choices: dict[str, Any], message: str, tmp_path: Path
) -> None:
    given = {"vision_layer": -2, **choices}
    qformer = QFormer.Config(**{**QFORMER, **given.pop("qformer", {})})
    if given.pop("beside", False):
        folder = save_vision(tmp_path / "beside", "siglip_vision_model")
        given["beside"] = [TowerChoice(name=folder)]
    model, processor = tiny_model(tmp_path, **{"connector": qformer, **given})
    with pytest.raises(ValueError, match=message):
        export(model, processor, target, tmp_path / "target")
    assert not (tmp_path / "target").exists()


@pytest.mark.parametrize(
    ("target", "choices", "message"),
    [
        ("blip2", {"language": "opt"}, "embeds words 40 wide and is itself 48"),
        ("instructblip", {}, "reads no instruction, unlike .*; export blip2"),
        ("blip2", {"reads": True}, "reads the instruction, unlike .*; export instructblip"),
        ("lavis", {"language": "gpt2"}, "'gpt2' model, and LAVIS has BLIP-2 with opt, t5, llama"),
        ("lavis", {}, "width of the tower's heads is 8, and LAVIS knows none but 88; export blip2"),
        ("blip2_retrieval", {}, "holds a model that compares .* expected one of blip2, instruct"),
        ("blip3", {}, "unknown target 'blip3'; did you mean 'blip2'"),
        ("blip2_qformer", {"connector": "mlp", "vision_prefix": False}, "is 'mlp'; expected 'qfo"),
    ],
)
def test_another_target_is_named(
    target: str, choices: dict[str, Any], message: str, tmp_path: Path
) -> None:
    given = dict(choices)
    text: dict[str, Any] = {}
    if given.pop("reads", False):
        text = READS
        given["qformer_tokenizer"] = save_bert(tmp_path / "bert")
    qformer = QFormer.Config(**QFORMER, **text)
    model, processor = tiny_model(
        tmp_path, **{"connector": qformer, "vision_layer": -2, **EVA, **given}
    )
    with pytest.raises(ValueError, match=message):
        export(model, processor, target, tmp_path / "target")


@pytest.mark.parametrize("target", ["blip2_retrieval", "lavis"])
def test_a_comparing_model_with_another_tower(target: str, tmp_path: Path) -> None:
    model = tiny_alignment()
    with pytest.raises(ValueError, match=r"'siglip_vision_model' .*; export blip2_qformer"):
        export(model, alignment_processor(model), target, tmp_path / "target")


def test_a_folder_that_is_taken_is_not_written(tmp_path: Path) -> None:
    model = tiny_alignment()
    (tmp_path / "mine").write_text("kept")
    with pytest.raises(ValueError, match="is there already; name a folder that is empty"):
        export(model, alignment_processor(model), "blip2_qformer", tmp_path)


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("query_tokens", None, "lacks 1 of the weights .* such as 'query_tokens' of shape"),
        ("language_projection.bias", 3, r"'language_projection.bias' of shape \(3,\); .* \(24,\)"),
        (
            "vision_model.encoder.layers.1.mlp.fc1.weight",
            None,
            "'vision_model.encoder.layers.1.mlp.fc1.weight' of shape",
        ),
        (
            "language_model.model.decoder.layers.0.fc1.weight",
            5,
            r"'language_model.model.decoder.layers.0.fc1.weight' of shape \(5,\)",
        ),
    ],
)
def test_a_weight_that_is_missing_or_misshapen_is_named(
    name: str, shape: int | None, message: str, tmp_path: Path
) -> None:
    save_generation(tmp_path)
    file = tmp_path / "model.safetensors"
    weights = {n: v.clone() for n, v in load_file(file).items() if n != name}
    if shape is not None:
        weights[name] = torch.zeros(shape)
    save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(ValueError, match=message):
        import_model(str(tmp_path))


def test_a_weight_too_much_is_told(tmp_path: Path) -> None:
    save_generation(tmp_path)
    file = tmp_path / "model.safetensors"
    save_file({**load_file(file), "odd": torch.zeros(1)}, file, metadata={"format": "pt"})
    assert import_model(str(tmp_path)).notes == ("the weight 'odd' has no place and was left out",)


@pytest.mark.parametrize("reads", [False, True])
def test_a_placeholder_that_is_none_is_named(reads: bool, tmp_path: Path) -> None:
    save_generation(tmp_path, reads=reads, image_token_index=PLACEHOLDER + 1)
    message = f"'<image>' the id {PLACEHOLDER}, the model expects {PLACEHOLDER + 1}"
    with pytest.raises(ValueError, match=message):
        import_model(str(tmp_path))


def test_an_instruction_that_nothing_can_read_is_refused(tmp_path: Path) -> None:
    stock = save_generation(tmp_path / "stock", language="llama", reads=True)
    shutil.rmtree(tmp_path / "stock" / "qformer_tokenizer")
    where = "stock/qformer_tokenizer' holds no tokenizer for the instructions"
    with pytest.raises(ValueError, match=rf"{where}[^;]*; expected that of the BERT .*; save it"):
        import_model(str(tmp_path / "stock"))

    stock.language_model.save_pretrained(tmp_path / "lm")
    tiny_tokenizer().save_pretrained(tmp_path / "lm")
    save_file(second_stage(stock), tmp_path / "second.safetensors")
    (tmp_path / "empty").mkdir()
    for name in ("empty", "nowhere"):
        beside = {"language": str(tmp_path / "lm"), "text": str(tmp_path / name)}
        with pytest.raises(ValueError, match=f"{name}' holds no tokenizer for the instructions"):
            import_model(str(tmp_path / "second.safetensors"), kind="lavis", **beside)
    with pytest.raises(ValueError, match="empty' holds no tokenizer for the instructions"):
        tiny_model(
            tmp_path,
            connector=QFormer.Config(**QFORMER, **READS),
            qformer_tokenizer=str(tmp_path / "empty"),
        )


@pytest.mark.parametrize(
    ("asked", "reads"), [("instructblip", False), ("blip2_retrieval", False), ("blip2", True)]
)
def test_the_wrong_kind_is_named(asked: str, reads: bool, tmp_path: Path) -> None:
    stock = save_generation(tmp_path, reads=reads)
    right = "instructblip" if reads else "blip2"
    message = f"{type(stock).__name__}, whose kind is '{right}' and not '{asked}'; leave kind out"
    with pytest.raises(ValueError, match=message):
        import_model(str(tmp_path), kind=asked)


def test_a_folder_that_names_no_class_is_what_it_is_taken_for(tmp_path: Path) -> None:
    save_retrieval(tmp_path)
    config = AutoConfig.from_pretrained(tmp_path)
    for names in (None, ["MyBlip2"]):
        config.architectures = names
        config.save_pretrained(tmp_path)
        with pytest.raises(ValueError, match=r"; expected |whose kind is 'blip2' and not 'instru"):
            import_model(str(tmp_path), kind="instructblip")
        assert import_model(str(tmp_path), kind="blip2_retrieval").model.config.d_embedding == 12


def test_a_folder_of_another_class_is_refused(tmp_path: Path) -> None:
    CLIPConfig(architectures=["CLIPModel"]).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="holds a CLIPModel; expected Blip2ForConditionalGenerat"):
        import_model(str(tmp_path))
    config = AutoConfig.from_pretrained(tmp_path)
    config.architectures = None
    config.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="holds a clip; expected Blip2ForConditionalGeneration"):
        import_model(str(tmp_path))


def test_what_would_be_ignored_is_refused(tmp_path: Path) -> None:
    save_retrieval(tmp_path / "stock")
    text_tokenizer().save_pretrained(tmp_path / "text")
    with pytest.raises(
        ValueError, match=r"text is for files of LAVIS; .* 'blip2_retrieval': leave"
    ):
        import_model(str(tmp_path / "stock"), text=str(tmp_path / "text"))
    with pytest.raises(ValueError, match="unknown kind 'blip'; did you mean 'blip2'"):
        import_model(str(tmp_path / "stock"), kind="blip")
    with pytest.raises(ValueError, match="is a file; give kind 'lavis'"):
        import_model(str(tmp_path / "stock" / "model.safetensors"))
