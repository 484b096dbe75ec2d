"""`isthmus quickstart`: the contract that scripts rely on, with tiny random towers."""

import json
from pathlib import Path

import pytest

from isthmus.cli import main
from tests.cli.conftest import World, json_lines

SHARES = (
    "vqa_accuracy",
    "vqa_accuracy_blind",
    "vqa_accuracy_majority",
    "vqa_accuracy_compositional",
)
COSTS = ("train_seconds", "eval_seconds", "samples_per_second", "peak_memory_gb")


@pytest.fixture(scope="module")
def output(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a run left whose names look like markup."""
    folder = tmp_path_factory.mktemp("quickstart")
    recipe = json.loads(world.recipe.read_text()) | {"name": "[/tiny]"}
    (folder / "[red]recipe.json").write_text(json.dumps(recipe))
    assert main(words(folder / "[red]output")) == 0
    return folder / "[red]output"


def words(output: Path) -> list[str]:
    given = ["quickstart", "--recipe", str(output.parent / "[red]recipe.json"), "--num-test", "10"]
    return [*given, "--output", str(output)]


def test_the_results_hold_every_promised_float(output: Path) -> None:
    results = json.loads((output / "results.json").read_text())
    assert all(isinstance(results[name], float) and 0 <= results[name] <= 1 for name in SHARES)
    assert all(isinstance(results[name], float) and results[name] > 0 for name in COSTS)
    assert results["train_seconds"] + results["eval_seconds"] < results["total_seconds"]
    tasks = {key for key in results if key.startswith("accuracy_") and key.count("_") == 1}
    assert tasks
    assert all(0 <= results[name] <= 1 for name in tasks)


def test_the_numbers_are_those_of_the_samples(output: Path) -> None:
    results = json.loads((output / "results.json").read_text())
    for folder, key in ((output, "vqa_accuracy"), (output / "compositional", "vqa_accuracy")):
        rows = json_lines(folder / "samples.jsonl")
        assert all(
            row["id"].startswith(("test", "compositional")[folder != output]) for row in rows
        )
        scores = [row["vqa_accuracy"] for row in rows if "vqa_accuracy" in row]
        suffix = "" if folder == output else "_compositional"
        assert results[f"{key}{suffix}"] == pytest.approx(sum(scores) / len(scores))


def test_the_blind_twin_saw_no_picture(output: Path) -> None:
    seeing, blind = (
        json.loads((output / name / "recipe.json").read_text()) for name in ("model", "blind")
    )
    assert [stage["blind"] for stage in seeing["recipe"]["stages"]] == [False]
    assert [stage["blind"] for stage in blind["recipe"]["stages"]] == [True]


def test_the_page_stands_alone(output: Path) -> None:
    page = (output / "report.html").read_text()
    assert "data:image/png" in page
    assert "compositional" in page
    assert "<script src" not in page
    assert "<link" not in page


def test_the_page_certifies_what_became_of_text_alone(output: Path) -> None:
    found = json.loads((output / "results.json").read_text())["text_ability"]
    assert found["num_texts"] == 64
    same = "yes" if found["is_identical"] else "no"
    page = (output / "report.html").read_text()
    assert f"64 texts bit-identical to those of {found['language']}: {same} (weights " in page


@pytest.mark.slow
def test_a_second_call_finds_the_finished_runs(
    output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = json.loads((output / "results.json").read_text())
    assert main(words(output)) == 0
    after = json.loads((output / "results.json").read_text())
    assert [after[name] for name in SHARES] == [before[name] for name in SHARES]
    steps = json_lines(output / "model" / "log.jsonl")
    assert len([line for line in steps if "loss" in line]) == 3
    said = capsys.readouterr().out
    assert "train [/tiny]" in said
    assert "64 texts bit-identical to those of" in " ".join(said.split())
    assert f"isthmus chat {output / 'model'}" in said
    asked = said.partition('for instance: "')[2].partition('"')[0]
    rows = json_lines(output / "samples.jsonl")
    assert asked in [row["question"] for row in (row["doc"] for row in rows)]
    assert f"isthmus show {output.parent / '[red]recipe.json'}" in said
