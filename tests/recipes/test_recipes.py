"""Every recipe resolves, says what its name says, and can be read back."""

import ast
from dataclasses import replace
from pathlib import Path

import pytest

from isthmus import recipes
from isthmus.training.data import MicroworldData
from isthmus.training.loop import train
from isthmus.training.stage import Recipe, Stage

LABELS = ("Paper:", "Expected:", "Hardware:", "Command:")


def docstring(name: str) -> str:
    family, _, function = name.partition(".")
    files = recipes._files(family)
    nodes = [node for path in files for node in ast.parse(path.read_text("utf-8")).body]
    found = next(n for n in nodes if isinstance(n, ast.FunctionDef) and n.name == function)
    return ast.get_docstring(found) or ""


def test_the_promised_recipes_are_there() -> None:
    assert {"microworld.quickstart", "microworld.full"} <= set(recipes.names())


@pytest.mark.parametrize("name", recipes.names())
def test_a_recipe_is_what_its_name_and_line_say(name: str) -> None:
    recipe = recipes.resolve(name)
    assert recipe.name == name
    assert recipe.description == recipes.descriptions()[name]
    assert "\n" not in recipe.description


@pytest.mark.parametrize("name", recipes.names())
def test_a_recipe_tells_source_expectation_cost_and_command(name: str) -> None:
    text = docstring(name)
    assert [label for label in LABELS if label not in text] == []
    assert name in text or "isthmus quickstart" in text


@pytest.mark.parametrize("name", recipes.names())
def test_a_recipe_survives_json(name: str) -> None:
    recipe = recipes.resolve(name)
    again = Recipe.from_dict(recipe.to_dict())
    assert again == recipe
    assert again.digest() == recipe.digest()


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [name for name in recipes.names() if "microworld:" in str(recipes.resolve(name))]
)
def test_a_recipe_trains_on_the_shipped_towers(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ISTHMUS_CACHE", str(tmp_path / "cache"))
    recipe = short(recipes.resolve(name))
    if recipe.start:
        train(short(recipes.resolve(f"microworld.{recipe.start.name}")), tmp_path / "start")
        recipe = replace(recipe, start=tmp_path / "start")
    result = train(recipe, tmp_path / "run")
    assert result.steps == 2 * len(recipe.stages)
    if name.endswith("_clips"):
        (_, before), (_, after), *_ = result.validation_losses
        assert after < 0.9 * before
    # A tower that has learnt its words is far from chance, which is a loss of 6.8; holding pictures
    # and texts together adds that of telling a batch apart, and that of matching. What happens in a
    # clip is told in words that the model has hardly read: it begins worse than chance.
    chance = 12 if "blip2" in name or name.endswith("_clips") else 6
    assert all(loss < chance for _, loss in result.losses)


def short(recipe: Recipe) -> Recipe:
    def stage(given: Stage) -> Stage:
        assert isinstance(given.data, MicroworldData)
        schedule = replace(given.schedule, epochs=None, steps=2)
        held_out = given.validation
        if isinstance(held_out, MicroworldData):
            held_out = replace(held_out, num=8)
        data = replace(given.data, num=64)
        return replace(given, data=data, validation=held_out, schedule=schedule)

    return replace(recipe, stages=tuple(map(stage, recipe.stages)))


def test_recipes_differ_from_each_other() -> None:
    digests = [recipes.resolve(name).digest() for name in recipes.names()]
    assert len(set(digests)) == len(digests)


def test_an_unknown_recipe_suggests_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"did you mean 'microworld\.full'\?"):
        recipes.resolve("microworld.ful")


def test_only_the_family_is_listed_or_the_families() -> None:
    with pytest.raises(
        ValueError, match=r"'prism\.clip_7b'\? \(valid: prism\.clip_7b_c[^*]*\)"
    ) as e:
        recipes.resolve("prism.clip_7")
    assert "microworld" not in str(e.value)
    with pytest.raises(ValueError, match=r"'prism\.clip_7b'\? \(valid: baselines\.\*, blip2\.\*"):
        recipes.resolve("prisms.clip_7b")


def test_a_function_that_is_no_recipe_is_not_resolved() -> None:
    with pytest.raises(ValueError, match="unknown recipe"):
        recipes.resolve("microworld.replace")
