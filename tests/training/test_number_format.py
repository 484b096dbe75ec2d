"""bfloat16 is for devices that compute in it."""

from io import StringIO
from pathlib import Path

import pytest
import torch
from rich.console import Console

from isthmus import recipes
from isthmus.training import loop, number_format
from isthmus.training.loop import train
from isthmus.training.number_format import for_this_machine, has_bfloat16
from tests.training.tiny_recipe import tiny_recipe


@pytest.mark.parametrize("has_it", [True, False])
def test_a_recipe_keeps_its_format_where_the_machine_has_it(
    monkeypatch: pytest.MonkeyPatch, has_it: bool
) -> None:
    recipe = recipes.resolve("microworld.quickstart")
    assert {stage.dtype for stage in recipe.stages} == {"bfloat16"}
    monkeypatch.setattr(number_format, "has_bfloat16", lambda device: has_it)
    found = {stage.dtype for stage in for_this_machine(recipe).stages}
    assert found == {"bfloat16" if has_it else "float32"}
    assert has_bfloat16(torch.device("cuda"))


@pytest.mark.parametrize("has_it", [True, False])
def test_a_slow_run_says_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, has_it: bool) -> None:
    monkeypatch.setattr(loop, "has_bfloat16", lambda device: has_it)
    told = StringIO()
    recipe = tiny_recipe(tmp_path, dtype="bfloat16", epochs=None, steps=1)
    train(recipe, tmp_path / "run", console=Console(file=told))
    assert ("give --stages.0.dtype float32" in " ".join(told.getvalue().split())) != has_it
