"""Recipes survive JSON, and settings that contradict each other are refused."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from isthmus.connectors.mlp import CONNECTOR
from isthmus.modeling.lora import Lora
from isthmus.objectives.language_modeling import LanguageModeling
from isthmus.training.data import FileData, MicroworldData
from isthmus.training.models import ModelConfig
from isthmus.training.stage import Part, Recipe, Schedule, Stage

DATA = FileData(file=Path("a.json"), image_root=Path("images"))
STAGE = Stage(
    name="align",
    train=(Part(name="connector", lr=1e-3), Part(name="language_model", lr=2e-5)),
    data=MicroworldData(split="train", num=10),
    validation=MicroworldData(split="val", num=5, seed=1),
    schedule=Schedule(batch_size=8, epochs=2),
)
RECIPE = Recipe(
    name="tests.two",
    description="two stages",
    model=ModelConfig(vision="v", language="l", connector=CONNECTOR.Config()),
    stages=(STAGE, replace(STAGE, name="tune", data=DATA)),
)


def test_a_recipe_survives_json() -> None:
    again = Recipe.from_dict(RECIPE.to_dict())
    assert again == RECIPE
    assert again.digest() == RECIPE.digest()
    assert RECIPE.to_dict()["stages"][0]["objectives"] == [
        {"kind": "language_modeling", "weight": 1.0, "label_smoothing": 0.0}
    ]
    assert again.stages[0].objectives == (LanguageModeling.Config(),)


def test_unknown_keys_are_refused_with_the_nearest() -> None:
    wrong = RECIPE.to_dict()
    wrong["stages"][1]["schedule"]["batchsize"] = 3
    with pytest.raises(ValueError, match=r"'batchsize'; did you mean 'batch_size'"):
        Recipe.from_dict(wrong)


def test_a_users_data_replaces_that_of_every_stage_and_validation_goes() -> None:
    changed = RECIPE.with_data(DATA)
    assert [stage.data for stage in changed.stages] == [DATA, DATA]
    assert [stage.validation for stage in changed.stages] == [None, None]
    assert RECIPE.with_data(DATA, validation=DATA).stages[0].validation == DATA


def test_the_blind_twin_differs_in_sight_only() -> None:
    twin = RECIPE.blind()
    assert all(stage.blind for stage in twin.stages)
    assert [replace(stage, blind=False) for stage in twin.stages] == list(RECIPE.stages)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"epochs": None}, "give one"),
        ({"steps": 3}, "give one"),
        ({"epochs": 0}, "expected at least 1"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"accumulation": 9}, "accumulation 9 exceeds the batch_size 8"),
    ],
)
def test_schedules_that_cannot_be_are_refused(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        replace(STAGE.schedule, **changes)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"train": ()}, "each part at most once"),
        ({"train": (STAGE.train[0], STAGE.train[0])}, "each part at most once"),
        (
            {"train": (Part(name="vision_tower", lr=1.0),), "feature_store": True},
            "set feature_store to False",
        ),
        ({"feature_dtype": "int8"}, "not stored; set feature_store to True"),
        ({"feature_store_gib": 9.0}, "not stored; set feature_store to True"),
        ({"feature_store": True, "feature_store_gib": 0.0}, "expected more than 0, or None"),
        ({"validate_every": 0.0}, r"expected a share in \(0, 1\]"),
        ({"checkpoint_every": 1.5}, r"expected a share in \(0, 1\]"),
        ({"keep_every": 0}, "keep_every is 0"),
        ({"finish": "best", "validation": None}, "has no validation data to tell them by"),
    ],
)
def test_stages_that_cannot_be_are_refused(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        replace(STAGE, **changes)


def test_shares_of_bad_rows_are_shares() -> None:
    with pytest.raises(ValueError, match="max_bad_share is 5"):
        replace(DATA, max_bad_share=5)


def test_a_published_file_has_samples() -> None:
    with pytest.raises(ValueError, match="samples is 0; expected 1 or more, or None"):
        replace(DATA, samples=0)


def test_four_bits_are_neither_trained_nor_saved() -> None:
    model = replace(RECIPE.model, four_bit=True)
    with pytest.raises(ValueError, match="neither trained nor saved"):
        replace(RECIPE, model=model, save="trained")
    lora = replace(STAGE, train=(Part(name="language_model", lr=1e-4, lora=Lora()),))
    with pytest.raises(ValueError, match="neither trained nor saved"):
        replace(RECIPE, model=model, stages=(lora,))
    assert replace(RECIPE, model=model, stages=(lora,), save="trained").model.four_bit
