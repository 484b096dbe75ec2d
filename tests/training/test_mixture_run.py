"""A run over a mixture: it goes on when killed, and what it leaves out is named and counted."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from isthmus.training.data import FileData, MixtureData
from isthmus.training.log import read_log
from isthmus.training.run_folder import read_description
from isthmus.training.stage import Recipe
from tests.marks import first_now
from tests.training.kills import bit_equal, run, run_until, weights
from tests.training.tiny_mixture import FAULTY, NUM, write_mixture
from tests.training.tiny_recipe import tiny_recipe


def mixed(folder: Path, *, lazy: bool, samples: int | None = None, **changes: Any) -> Recipe:
    file = write_mixture(folder / "mixture", samples=samples)
    data = MixtureData(mixture=file, lazy=lazy, max_bad_share=0.2)
    return tiny_recipe(folder, data=data, checkpoint_every=0.25, **changes)


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {"lazy": True, "epochs": 1},
        {"lazy": True, "epochs": None, "steps": 9, "pack_tokens": 160, "pack_images": 4},
        {"lazy": False, "epochs": 1, "feature_store": True},
    ],
    ids=["lazy", "lazy-packed", "stored"],
)
def test_a_killed_run_ends_bit_equal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    recipe = mixed(tmp_path, samples=40, **changes)
    whole, _ = run(recipe, tmp_path / "whole")
    for step in (4, 8):
        run_until(monkeypatch, recipe, tmp_path / "killed", step)
    resumed, _ = run(recipe, tmp_path / "killed", resume=True)
    assert bit_equal(weights(tmp_path / "whole"), weights(tmp_path / "killed"))
    assert resumed.losses == whole.losses
    counts = ("samples", "tokens", "refused", "filtered")
    assert [getattr(resumed, name) for name in counts] == [getattr(whole, name) for name in counts]
    assert [
        line["resumed_from"] for line in read_log(tmp_path / "killed") if "resumed_from" in line
    ]


@pytest.mark.parametrize("lazy", first_now([True, False]))
def test_every_row_of_an_epoch_is_used_or_named(tmp_path: Path, lazy: bool) -> None:
    recipe = mixed(tmp_path, lazy=lazy, epochs=1)
    result, _ = run(recipe, tmp_path / "out")
    lines = (tmp_path / "out/quarantine.jsonl").read_text().splitlines()
    kept = [json.loads(line) for line in lines]
    assert sorted((row["id"], row["reason"]) for row in kept) == [
        ("asked-6", "image_missing"),  # such a row has no name of its own yet
        ("told-10", "empty_answer"),
        ("told-3", "image_damaged"),
    ]
    (stage,) = read_description(tmp_path / "out")["stages"]
    if lazy:
        assert (result.samples, result.refused) == (3 * NUM - 3, len(FAULTY))
        assert stage["samples"] == 3 * NUM
    else:
        assert (result.samples, result.refused) == (3 * NUM - 3, 0)
        assert stage["samples"] == 3 * NUM - 3
        assert sum(stage["rejected"].values()) == len(FAULTY)
    assert result.filtered == 0


def test_a_large_file_is_learned_from_as_it_is_read(tmp_path: Path) -> None:
    recipe = tiny_recipe(tmp_path, epochs=1)
    (stage,) = recipe.stages
    assert isinstance(stage.data, FileData)
    lazy = replace(stage, data=replace(stage.data, lazy=True))
    results = [
        run(replace(recipe, stages=(one,)), tmp_path / name)[0]
        for name, one in (("whole", stage), ("lazy", lazy))
    ]
    assert [result.samples for result in results] == [NUM, NUM]
    assert [result.tokens for result in results] == [results[0].tokens] * 2
    with pytest.raises(ValueError, match="its data is lazy, so nobody knows them"):
        run(replace(recipe, stages=(replace(lazy, feature_store=True),)), tmp_path / "stored")


def test_blind_runs_draw_no_image(tmp_path: Path) -> None:
    recipe = mixed(tmp_path, lazy=True, epochs=1).blind()
    result, _ = run(recipe, tmp_path / "out")
    assert result.samples == 3 * NUM - 2  # a damaged image is no fault where none is looked at
