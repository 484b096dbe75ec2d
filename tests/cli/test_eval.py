"""`isthmus eval`: the contract that scripts rely on."""

import json
from pathlib import Path

import pytest

from isthmus.cli import main
from tests.cli.conftest import World, json_lines, one_line_refusal


def test_eval_writes_numbers_samples_and_a_page(world: World, tmp_path: Path) -> None:
    words = ["eval", str(world.model), "--data", str(world.data)]
    words += ["--image-root", str(world.data.parent), "--output", str(tmp_path)]
    assert main(words) == 0
    results = json.loads((tmp_path / "results.json").read_text())
    samples = json_lines(tmp_path / "samples.jsonl")
    truths = [row["messages"][-1]["content"] for row in json_lines(world.data)]
    assert [sample["target"] for sample in samples] == truths
    assert all({"id", "prediction", "target"} <= set(sample) for sample in samples)
    right = sum(sample["score"] for sample in samples) / len(samples)
    assert results["exact_match"] == right
    low, high = results["exact_match_interval"]
    assert 0 <= low <= right <= high <= 1
    page = (tmp_path / "report.html").read_text()
    assert "data:image" in page
    assert "connector" in page


def test_without_an_image_root_the_folder_of_the_data_is_it(world: World, tmp_path: Path) -> None:
    words = ["eval", str(world.model), "--data", str(world.data), "--output", str(tmp_path)]
    assert main([*words, "--blind"]) == 0
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["provenance"]["blind"] is True


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["MODEL", "--data", "absent.json"], "absent.json does not exist"),
        (["nowhere", "--data", "DATA"], "nowhere holds no config.json"),
        (["MODEL", "--data", "DATA", "--benchmark", "microwrld"], "did you mean 'microworld'?"),
    ],
)
def test_a_wrong_setting_is_one_line(
    words: list[str],
    reason: str,
    world: World,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    names = {"MODEL": str(world.model), "DATA": str(world.data)}
    given = [names.get(word, word) for word in words]
    assert reason in one_line_refusal(["eval", *given, "--output", str(tmp_path / "out")], capsys)
