"""A folder belongs to one run."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from isthmus.training import run_folder
from isthmus.training.stage import Recipe
from tests.training.test_stage import RECIPE


def test_the_description_repeats_the_recipe(tmp_path: Path) -> None:
    run_folder.claim(tmp_path / "new" / "run", RECIPE, resume=False)
    described = run_folder.read_description(tmp_path / "new" / "run")
    assert Recipe.from_dict(described["recipe"]) == RECIPE
    assert described["digest"] == RECIPE.digest()
    assert described["seed"] == 0
    assert described["versions"]["torch"].startswith("2.")
    run_folder.describe(tmp_path, RECIPE, towers={"connector": "abc"})
    assert run_folder.read_description(tmp_path)["towers"] == {"connector": "abc"}


def take_a_step(output: Path) -> None:
    (output / "log.jsonl").write_text('{"step": 1}\n')


def test_an_empty_folder_may_be_resumed_and_a_runs_own_too(tmp_path: Path) -> None:
    run_folder.claim(tmp_path, RECIPE, resume=True)
    take_a_step(tmp_path)
    run_folder.claim(tmp_path, RECIPE, resume=True)
    with pytest.raises(ValueError, match="go on with --resume"):
        run_folder.claim(tmp_path, RECIPE, resume=False)


@pytest.mark.parametrize("resume", [False, True])
def test_another_run_is_refused(tmp_path: Path, resume: bool) -> None:
    run_folder.claim(tmp_path, RECIPE, resume=False)
    take_a_step(tmp_path)
    before = (tmp_path / "recipe.json").read_text()
    with pytest.raises(ValueError, match="holds another run"):
        run_folder.claim(tmp_path, replace(RECIPE, seed=1), resume=resume)
    assert (tmp_path / "recipe.json").read_text() == before


def test_a_run_that_failed_before_its_first_step_holds_nothing(tmp_path: Path) -> None:
    run_folder.claim(tmp_path, RECIPE, resume=False)
    (tmp_path / "log.jsonl").touch()
    corrected = replace(RECIPE, seed=1)
    run_folder.claim(tmp_path, corrected, resume=False)
    assert run_folder.read_description(tmp_path)["digest"] == corrected.digest()


def test_a_finished_run_of_no_steps_holds_its_folder(tmp_path: Path) -> None:
    run_folder.claim(tmp_path, RECIPE, resume=False)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ValueError, match="holds another run"):
        run_folder.claim(tmp_path, replace(RECIPE, seed=1), resume=False)


@pytest.mark.parametrize("name", ["config.json", "log.jsonl"])
def test_what_another_program_left_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(json.dumps({}))
    with pytest.raises(ValueError, match=f"holds {name}"):
        run_folder.claim(tmp_path, RECIPE, resume=True)
    assert (tmp_path / name).read_text() == "{}"
