"""Recipes are as their papers say, line by line, where that is known."""

import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from isthmus import recipes
from isthmus.cli import main
from isthmus.cli._recipe import flatten
from isthmus.data.mixture.balance import HONEYBEE
from isthmus.data.mixture.file import read_mixture
from isthmus.data.sources._named import load_reader
from isthmus.data.templates.template import template_set
from isthmus.geometry.box_text import convention
from isthmus.recipes._facts import facts_of
from isthmus.study.architecture import architecture, on_meta
from isthmus.training.data import MixtureData
from isthmus.training.freeze import freeze_and_thaw
from isthmus.training.models import AlignmentConfig, ModelConfig
from isthmus.training.stage import Part

MIXTURES = Path(__file__).parents[2] / "docs/mixtures"
FACTS = Path(recipes.__file__).parent / "facts"
WITH_FACTS = [name for name in recipes.names() if facts_of(name)]
FIRST = {name.partition(".")[0]: name for name in reversed(WITH_FACTS)}.values()
"""One recipe of each family, whose model is built on the meta device in the fast tests, too."""


def told(name: str) -> dict[str, Any]:
    """Every value of a recipe by its path, and what follows from them."""
    recipe = recipes.resolve(name)
    written = {path: json.loads(value) for path, value in flatten(recipe.to_dict()).items()}
    of_stages = {
        f"stages.{number}.{path}": value
        for number, (stage, model) in enumerate(zip(recipe.stages, recipe.models, strict=True))
        for path, value in followed(type(model), key(model), stage.train).items()
    }
    return {**written, **of_stages, **followed(ModelConfig, key(recipe.model), ())}


def key(model: ModelConfig | AlignmentConfig) -> str:
    """A model without what its weights do not depend on; many recipes share one."""
    if isinstance(model, ModelConfig):
        model = replace(model, image_resize="naive", chat_template=None)
    return json.dumps(model.to_dict())


@cache
def followed(kind: type[Any], model: str, train: tuple[Part, ...]) -> dict[str, int]:
    """Parameters by part, those of them that learn, visual tokens and the side of a picture."""
    built: Any = on_meta(architecture(kind.from_dict(json.loads(model))))
    parts = built.parts()
    rows = freeze_and_thaw(parts, [part for part in train if part.name in parts])
    return {
        **{f"parameters.{row.part}": row.parameters for row in rows},
        **{f"trained.{row.part}": row.trainable for row in rows},
        **({"visual_tokens": built.config.num_image_tokens} if kind is ModelConfig else {}),
        "resolution": built.config.resize.size[0],
    }


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n in FIRST else pytest.mark.slow) for n in WITH_FACTS]
)
def test_a_recipe_is_as_its_paper_says(name: str) -> None:
    found = told(name)
    facts = [fact for fact in facts_of(name) if fact.is_verified]
    assert len(facts) > 3
    assert len({fact.path for fact in facts}) == len(facts)
    assert {f.path: found[f.path] for f in facts} == {
        fact.path: pytest.approx(fact.value) if isinstance(fact.value, float) else fact.value
        for fact in facts
    }


@pytest.mark.parametrize("family", sorted(file.stem for file in FACTS.glob("*.yaml")))
def test_every_recipe_of_a_family_has_facts_of_its_own(family: str) -> None:
    common = len(facts_of(f"{family}.nothing_of_the_kind"))
    own = [name for name in recipes.names() if name.startswith(f"{family}.")]
    assert own
    assert [name for name in own if len(facts_of(name)) == common] == []


def test_a_recipe_without_facts_has_none() -> None:
    assert facts_of("microworld.quickstart") == []


def test_facts_are_shown_with_their_source(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "honeybee.short_linear_7b"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "stages.0.schedule.batch_size = 256  (P table 11)" in lines
    assert any("unverified" in line for line in lines)


@pytest.mark.parametrize("file", sorted(MIXTURES.glob("*.yaml")), ids=lambda file: file.stem)
def test_a_mixture_can_be_read(file: Path) -> None:
    mixture = read_mixture(file)
    convention(mixture.asking.boxes)
    for entry in mixture.entries:
        reader = load_reader(entry.source, **entry.options)
        assert set(reader.files) == (set(entry.files) or {"file"})
        if entry.template is not None:
            assert isinstance(entry.template, str)
            template_set(entry.template)


def test_the_mixtures_that_recipes_name_are_there() -> None:
    stages = [stage for name in WITH_FACTS for stage in recipes.resolve(name).stages]
    named = {str(each.data.mixture) for each in stages if isinstance(each.data, MixtureData)}
    assert named <= {file.name for file in MIXTURES.glob("*.yaml")}


def test_honeybee_learns_instructions_from_its_thirteen_data_sets() -> None:
    mixture = read_mixture(MIXTURES / "honeybee_instructions.yaml")
    assert {entry.name for entry in mixture.entries} == set(HONEYBEE)
