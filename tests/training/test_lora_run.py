"""A run with low-rank updates: what learns, what is kept, and what the folder holds at the end."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import isthmus
from isthmus.modeling.lora import Lora
from isthmus.training.run_folder import read_description
from isthmus.training.stage import Part, Recipe
from tests.marks import first_now
from tests.training.kills import bit_equal, run, run_until, weights
from tests.training.tiny_recipe import tiny_recipe

LM = Part(name="language_model", lr=1e-2, lora=Lora(rank=2, alpha=4))
PARTS = (Part(name="connector", lr=1e-2), LM)


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    return tiny_recipe(tmp_path, train=PARTS, checkpoint_every=0.25)


@pytest.mark.slow
def test_a_killed_run_ends_bit_equal_and_merged(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(recipe, tmp_path / "whole")
    for step in (2, 5):
        run_until(monkeypatch, recipe, tmp_path / "killed", step)
    run(recipe, tmp_path / "killed", resume=True)
    whole = weights(tmp_path / "whole")
    assert bit_equal(whole, weights(tmp_path / "killed"))
    assert not any("lora" in name or "base_layer" in name for name in whole)
    stock = load_file(Path(recipe.model.language) / "model.safetensors")
    moved = [n for n, w in stock.items() if not torch.equal(w, whole[_ours(n)])]
    assert moved
    assert all("proj" in name for name in moved)

    (checkpoint, *_) = sorted((tmp_path / "whole/checkpoints").iterdir())
    held = load_file(checkpoint / "trained.safetensors")
    assert all("lora_" in name or "connector" in name for name in held)
    row = read_description(tmp_path / "whole")["stages"][0]["parts"][2]
    assert row["part"] == "language_model"
    assert 0 < row["trainable"] < row["parameters"] / 4


def _ours(name: str) -> str:
    return name if name.startswith("lm_head") else f"model.language_model.{name[6:]}"


@pytest.mark.slow
def test_trained_weights_alone_are_joined_to_their_towers(recipe: Recipe, tmp_path: Path) -> None:
    run(recipe, tmp_path / "whole")
    run(replace(recipe, save="trained"), tmp_path / "trained")
    small = tmp_path / "trained"
    assert not (small / "model.safetensors").exists()
    assert (small / "trained.safetensors").stat().st_size < 2e5
    whole, _ = isthmus.load(tmp_path / "whole")
    joined, processor = isthmus.load(small)
    assert processor.num_image_tokens == whole.config.num_image_tokens
    assert bit_equal(whole.state_dict(), joined.state_dict())
    joined.save_pretrained(tmp_path / "again")
    assert bit_equal(weights(tmp_path / "whole"), weights(tmp_path / "again"))


def test_trained_weights_refuse_other_towers(recipe: Recipe, tmp_path: Path) -> None:
    run(replace(recipe, save="trained"), tmp_path / "trained")
    file = Path(recipe.model.language) / "model.safetensors"
    weights = load_file(file)
    weights["model.norm.weight"] += 1
    save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"trained with the language_model .*restore it"):
        isthmus.load(tmp_path / "trained")


@pytest.mark.slow
def test_updates_go_on_into_the_next_stage(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (stage,) = recipe.stages
    second = replace(stage, name="more", train=(LM,))
    both = replace(recipe, stages=(stage, second))
    run(both, tmp_path / "whole")
    run_until(monkeypatch, both, tmp_path / "killed", 17)  # in the second stage
    run(both, tmp_path / "killed", resume=True)
    assert bit_equal(weights(tmp_path / "whole"), weights(tmp_path / "killed"))


def test_two_kinds_of_updates_on_a_part_are_refused(recipe: Recipe) -> None:
    (stage,) = recipe.stages
    other = replace(stage, train=(replace(LM, lora=Lora(rank=4)),))
    with pytest.raises(ValueError, match="give both the same"):
        replace(recipe, stages=(stage, other))


def test_a_recipe_with_updates_survives_json(recipe: Recipe) -> None:
    assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe


@pytest.mark.parametrize("absent", first_now(["lora_A", "connector"]))
def test_trained_weights_that_are_not_whole_are_refused(
    recipe: Recipe, tmp_path: Path, absent: str
) -> None:
    run(replace(recipe, save="trained"), tmp_path / "trained")
    file = tmp_path / "trained/trained.safetensors"
    weights = load_file(file)
    name = next(name for name in weights if absent in name)
    save_file({n: value for n, value in weights.items() if n != name}, file)
    with pytest.raises(ValueError, match=f"lacks {name}"):
        isthmus.load(tmp_path / "trained")
    save_file(weights | {name: weights[name][:1]}, file)
    with pytest.raises(ValueError, match="of another architecture"):
        isthmus.load(tmp_path / "trained")
