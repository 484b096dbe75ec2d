"""`isthmus study`: recipes over seeds, in shards, to one table."""

import json
from pathlib import Path

import pytest

from isthmus.cli import main
from isthmus.objectives.alignment import Alignment
from isthmus.training.data import FileData
from isthmus.training.models import AlignmentConfig
from isthmus.training.stage import Part, Recipe, Schedule, Stage
from tests.cli.conftest import World, json_lines, one_line_refusal
from tests.tiny_alignment import QFORMER, save_bert


def named(world: World, folder: Path, name: str, lr: float) -> str:
    """The tiny recipe under another name and with another rate."""
    recipe = json.loads(world.recipe.read_text())
    recipe["name"] = name
    recipe["stages"][0]["train"][0]["lr"] = lr
    file = folder / f"{name}.json"
    file.write_text(json.dumps(recipe))
    return str(file)


@pytest.mark.slow
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
        (["--test-data", "DATA", "--num-test", "5"], "--num-test 5 would be ignored"),
        (["--test-data", "DATA", "--split", "val"], "--split val would be ignored"),
        (["--top", "5"], "--top 5 would be ignored: these recipes are measured by answers"),
        (["--num-test", "0"], "num_test is 0; expected 1 or more"),
        (["--batch-size", "0"], "batch_size is 0; expected 1 or more"),
    ],
)
def test_what_cannot_be_compared_is_refused_at_once(
    world: World,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    more: list[str],
    reason: str,
) -> None:
    given = [str(world.data) if word == "DATA" else word for word in more]
    words = ["study", str(world.recipe), "--output", str(tmp_path / "study"), *given]
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


@pytest.fixture
def aligning(world: World, tmp_path: Path) -> Path:
    """A recipe over the tower of the world, and rows of one image each."""
    rows = [row for row in json_lines(world.data) if len(row["images"]) == 1]
    captions = tmp_path / "captions.jsonl"
    captions.write_text("".join(json.dumps(row) + "\n" for row in rows))
    recipe = Recipe(
        name="tests.aligning",
        description="Holds images and texts together.",
        model=AlignmentConfig(
            vision=json.loads(world.recipe.read_text())["model"]["vision"],
            text=save_bert(tmp_path / "bert"),
            qformer=QFORMER,
            max_caption_tokens=12,
        ),
        stages=(
            Stage(
                name="alignment",
                train=(Part(name="connector", lr=1e-3), Part(name="heads", lr=1e-3)),
                objectives=(Alignment.Config(),),
                data=FileData(file=captions, image_root=world.data.parent),
                schedule=Schedule(batch_size=3, steps=2),
            ),
        ),
    )
    (tmp_path / "aligning.json").write_text(json.dumps(recipe.to_dict()))
    return tmp_path


def test_models_that_hold_pairs_are_compared_by_retrieval(world: World, aligning: Path) -> None:
    words = ["study", str(aligning / "aligning.json"), "--output", str(aligning / "study")]
    words += ["--seeds", "0", "1", "--top", "2", "--test-data", str(aligning / "captions.jsonl")]
    assert main([*words, "--image-root", str(world.data.parent)]) == 0
    table = json.loads((aligning / "study" / "table.json").read_text())
    assert (table["metric"], table["lines"][0]["seeds"]) == ("recall_at_1", [0, 1])
    (first, _) = (aligning / "study").rglob("results.json")
    results = json.loads(first.read_text())
    assert "nearest 2" in results["metrics"]["recall_at_1"]["variant"]
    rows = json_lines(aligning / "captions.jsonl")
    assert results["metrics"]["text_recall_at_1"]["count"] == len(rows)


def test_scenes_of_the_microworld_have_captions_for_pairs(aligning: Path) -> None:
    words = ["study", str(aligning / "aligning.json"), "--output", str(aligning / "study")]
    assert main([*words, "--seeds", "0", "--num-test", "3", "--metric", "image_recall_at_5"]) == 0
    table = json.loads((aligning / "study" / "table.json").read_text())
    assert (table["metric"], table["samples"]) == ("image_recall_at_5", 3)


def test_models_of_two_kinds_are_not_compared(
    world: World, aligning: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["study", str(world.recipe), str(aligning / "aligning.json"), "--output"]
    said = one_line_refusal([*words, str(aligning / "study")], capsys)
    assert "tests.aligning is measured by retrieval, and tests.tiny by answers" in said
    assert not (aligning / "study").exists()


def test_rows_that_are_no_pairs_are_refused_before_training(
    world: World, aligning: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["study", str(aligning / "aligning.json"), "--output", str(aligning / "study")]
    said = one_line_refusal([*words, "--test-data", str(world.data)], capsys)
    assert "a caption belongs to one image" in said
    assert not (aligning / "study").exists()
