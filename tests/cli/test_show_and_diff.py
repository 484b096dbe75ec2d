"""Reading recipes: listing, printing, comparing."""

import json
from pathlib import Path

import pytest

from isthmus import recipes
from isthmus.cli import main
from isthmus.cli._recipe import find, flatten
from tests.cli.conftest import World, one_line_refusal


def test_show_lists_one_plain_untruncated_line_per_recipe(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    assert main(["show"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == [f"{name}  {line}" for name, line in recipes.descriptions().items()]
    assert max(map(len, lines)) > 60


def test_show_prints_every_value_of_a_recipe(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "microworld.quickstart"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert 'model.vision = "microworld:siglip"' in lines
    assert 'stages.0.data.split = "train"' in lines
    assert f"digest {recipes.resolve('microworld.quickstart').digest()}" in lines


def test_a_run_folder_and_its_file_name_the_same_recipe(world: World) -> None:
    assert find(str(world.model)) == find(str(world.model / "recipe.json"))
    assert find(str(world.recipe)).model == find(str(world.model)).model


def test_diff_prints_what_differs_and_nothing_else(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changed = json.loads(world.recipe.read_text())
    changed["stages"][0]["schedule"]["batch_size"] = 6
    changed["model"]["connector"] = {"kind": "mlp", "depth": 1}
    other = tmp_path / "other.json"
    other.write_text(json.dumps(changed))
    assert main(["diff", str(world.recipe), str(other)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        'model.connector.kind: "linear" -> "mlp"',
        "stages.0.schedule.batch_size: 4 -> 6",
        "model.connector.depth: - -> 1",
        'model.connector.activation: - -> "gelu"',
        "model.connector.patch_multiplier: - -> null",
    ]


def test_diff_of_equal_recipes_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diff", "microworld.full", "microworld.full"]) == 0
    assert capsys.readouterr().out == "no difference\n"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "is not JSON"),
        ("[]", "holds []; expected an object"),
        ('{"recipe": "x"}', "holds 'x'; expected an object"),
        ('{"nam": "x"}', "did you mean 'name'"),
        (None, "does not exist"),
    ],
)
def test_a_bad_recipe_file_is_refused_with_its_path(
    content: str | None, reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bad.json"
    if content is not None:
        path.write_text(content)
    for words in (["show", str(path)], ["diff", "microworld.full", str(path)]):
        said = one_line_refusal(words, capsys)
        assert str(path) in said
        assert reason in said


def test_flat_paths_reach_every_leaf() -> None:
    nested = {"a": [{"b": 1}, {"b": None}], "c": [0.9, 0.999], "d": {"e": "x"}, "f": [], "g": {}}
    assert flatten(nested) == {
        "a.0.b": "1",
        "a.1.b": "null",
        "c": "[0.9, 0.999]",
        "d.e": '"x"',
        "f": "[]",
        "g": "{}",
    }
