"""A Q-Former by itself: all that stood around it goes along, and a new model starts from it."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoTokenizer, Blip2QFormerConfig, Blip2QFormerModel

from isthmus import IsthmusForAlignment, IsthmusForConditionalGeneration
from isthmus.cli import main
from isthmus.connectors._qformer_names import BESIDE_FILE
from isthmus.shipping.export import export
from isthmus.shipping.import_ import import_model
from isthmus.training import loop
from isthmus.training.resolve import build
from tests.shipping.published import NUM_QUERIES, save_generation
from tests.tiny import save_language, save_vision
from tests.tiny_alignment import LENGTH, alignment_processor, text_tokenizer, tiny_alignment

HEADS = ("itm_head", "lm_head", "temperature", "text_projection", "vision_projection")


def exported(folder: Path) -> tuple[IsthmusForAlignment, tuple[str, ...]]:
    """A model whose Q-Former lies in a folder, and what was said about that."""
    model = tiny_alignment(temperature=0.3)
    return model, export(model, alignment_processor(model), "blip2_qformer", folder)


def heads_of(model: IsthmusForAlignment) -> dict[str, Tensor]:
    return {n: v for n, v in model.state_dict().items() if n.split(".")[0] in HEADS}


def commands(source: Path) -> list[list[str]]:
    """The words behind `isthmus train RECIPE` that a refusal gives for each kind of recipe."""
    with pytest.raises(ValueError, match="holds a Blip2QFormerModel, a Q-Former alone") as error:
        import_model(str(source))
    return [
        shlex.split(found)
        for found in re.findall("isthmus train RECIPE ([^;(]*)", str(error.value))
    ]


def started(words: list[str], monkeypatch: pytest.MonkeyPatch, folder: Path) -> Any:
    """The model that `isthmus train` would train."""
    recipes: list[Any] = []
    monkeypatch.setattr(loop, "train", lambda recipe, *_, **__: recipes.append(recipe))
    assert main(["train", *words, "--output", str(folder / "run")]) == 0
    return build(recipes[0].model)[0]


def test_the_file_beside_it_holds_all_that_it_has_no_place_for(tmp_path: Path) -> None:
    model, notes = exported(tmp_path / "alone")
    beside = load_file(tmp_path / "alone" / BESIDE_FILE)
    expected = heads_of(model)
    assert {name.split(".")[0] for name in expected} == set(HEADS)
    assert all(torch.equal(beside[name], value) for name, value in expected.items())
    assert len(notes) == 2
    assert notes[0].endswith(
        "Q-Former: embeddings, itm_head, lm_head, ln_vision, query_tokens, temperature, "
        "text_projection, vision_projection"
    )
    assert f"its heads are fresh: {', '.join(HEADS)} stay in {BESIDE_FILE}" in notes[1]


def test_a_model_that_compares_starts_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, _ = exported(tmp_path / "a lone one")
    _, words = commands(tmp_path / "a lone one")
    words += ["--model.vision", save_vision(tmp_path / "vision"), "--model.d-embedding", "8"]
    words += ["--model.max-caption-tokens", str(LENGTH)]
    new = started(["microworld.blip2_alignment", *words], monkeypatch, tmp_path)
    own = model.qformer.state_dict()
    assert own.keys() == new.qformer.state_dict().keys()
    assert all(torch.equal(value, own[name]) for name, value in new.qformer.state_dict().items())
    # What the note says of its heads.
    fresh = heads_of(new)
    assert not any(torch.equal(v, fresh[n]) for n, v in heads_of(model).items() if v.ndim != 1)


def test_a_model_that_answers_starts_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, _ = exported(tmp_path / "alone")
    words, _ = commands(tmp_path / "alone")
    towers = ["--model.vision", save_vision(tmp_path / "vision")]
    towers += ["--model.language", save_language(tmp_path / "language")]
    new = started(["towers.connector", *words, *towers], monkeypatch, tmp_path)
    taken = new.model.connector.state_dict()
    own = model.qformer.state_dict()
    left = {name for name in own if name.startswith("text.") or ".text_ffn." in name}
    assert own.keys() - left == {n for n in taken if not n.startswith("projection.")}
    assert all(torch.equal(taken[name], own[name]) for name in own.keys() - left)


def test_the_tokenizer_of_what_it_reads_and_the_projection_go_along(tmp_path: Path) -> None:
    save_generation(tmp_path / "stock", reads=True)
    imported = import_model(str(tmp_path / "stock"))
    assert isinstance(imported.model, IsthmusForConditionalGeneration)
    notes = export(imported.model, imported.processor, "blip2_qformer", tmp_path / "alone")
    assert [note.partition(" ")[0] for note in notes] == [BESIDE_FILE, "a", "no"]
    assert "takes the projection where its language model is 24 wide" in notes[1]
    assert "qformer.patch_norm_eps, 1e-06; a new model has to be given it" in notes[2]
    words = AutoTokenizer.from_pretrained(tmp_path / "alone")
    assert words("a red star").input_ids == text_tokenizer()("a red star").input_ids
    assert f"--model.connector.num-queries {NUM_QUERIES}" in " ".join(
        commands(tmp_path / "alone")[0]
    )


@pytest.mark.parametrize("reads", [False, True])
def test_one_that_others_wrote_has_no_queries(reads: bool, tmp_path: Path) -> None:
    config = Blip2QFormerConfig(
        hidden_size=16,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=24,
        encoder_hidden_size=12,
        cross_attention_frequency=3,
        use_qformer_text_input=reads,
    )
    Blip2QFormerModel(config).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"tower 12 wide: .* queries and words are fresh"):
        import_model(str(tmp_path), kind="blip2")
    answers, *compares = commands(tmp_path)
    expected = ["--model.connector.num-queries", "32", "--model.connector.depth", "3"]
    expected += ["--model.connector.d-hidden", "16", "--model.connector.num-heads", "4"]
    expected += ["--model.connector.d-ffn", "24", "--model.connector.cross-attention-every", "3"]
    assert answers[4:-2] == expected
    # Without a text side it cannot compare; the size of a vocabulary that it lacks is not told.
    assert [words[-2:] for words in compares] == [["--model.qformer.norm-eps", "1e-12"]] * reads
