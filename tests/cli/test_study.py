"""`isthmus study`: recipes over seeds, in shards, to one table."""

import json
from pathlib import Path

import pytest

from isthmus.cli import main
from tests.cli.conftest import World, one_line_refusal


def named(world: World, folder: Path, name: str, lr: float) -> str:
    """The tiny recipe under another name and with another rate."""
    recipe = json.loads(world.recipe.read_text())
    recipe["name"] = name
    recipe["stages"][0]["train"][0]["lr"] = lr
    file = folder / f"{name}.json"
    file.write_text(json.dumps(recipe))
    return str(file)


def test_shards_fill_one_table(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["study", named(world, tmp_path, "slow", 1e-4), named(world, tmp_path, "fast", 1e-2)]
    words += ["--output", str(tmp_path / "study"), "--seeds", "0", "1"]
    words += ["--data", str(world.data), "--test-data", str(world.data)]
    assert main([*words, "--shard", "1/2"]) == 0
    first = capsys.readouterr().out
    assert "run 1 of 2: slow, seed 0" in first
    assert "fast" not in first.partition("exact_match")[0]
    assert "2 of 4 runs are left to other shards" in first
    assert main([*words, "--shard", "2/2"]) == 0
    assert "runs are left" not in capsys.readouterr().out
    table = json.loads((tmp_path / "study" / "table.json").read_text())
    assert (table["metric"], table["reference"]) == ("exact_match", "slow")
    assert [(line["name"], line["seeds"]) for line in table["lines"]] == [
        ("slow", [0, 1]),
        ("fast", [0, 1]),
    ]
    assert table["lines"][1]["difference"]["over_seeds"] is not None
    assert main(words) == 0
    assert capsys.readouterr().out.count("finished before, skipped") == 4


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        (["--shard", "3/2"], "shard 3/2"),
        (["--reference", "other"], "'other' is not compared"),
        (["--test-data", "absent.json"], "absent.json"),
    ],
)
def test_what_cannot_be_compared_is_refused_at_once(
    world: World,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    more: list[str],
    reason: str,
) -> None:
    words = ["study", str(world.recipe), "--output", str(tmp_path / "study"), *more]
    assert reason in one_line_refusal(words, capsys)
    assert not (tmp_path / "study").exists()


def test_the_image_root_may_be_that_of_the_test_file_alone(world: World, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere.jsonl"
    moved.write_bytes(world.data.read_bytes())
    words = ["study", str(world.recipe), "--output", str(tmp_path / "study"), "--seeds", "0"]
    words += ["--test-data", str(moved), "--image-root", str(world.data.parent)]
    assert main(words) == 0
    assert json.loads((tmp_path / "study" / "table.json").read_text())["samples"] == 12


def test_two_recipes_of_one_name_are_refused(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["study", str(world.recipe), str(world.recipe), "--output", str(tmp_path / "study")]
    assert "two recipes are called 'tests.tiny'" in one_line_refusal(words, capsys)
