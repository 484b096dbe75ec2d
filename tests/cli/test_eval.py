"""`isthmus eval`: the contract that scripts rely on."""

import json
import shutil
from pathlib import Path

import pytest

from isthmus.cli import main
from isthmus.cli._model import language_before
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


def test_what_became_of_text_alone_is_told(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["eval", str(world.model), "--data", str(world.data), "--output", str(tmp_path)]
    texts = tmp_path / "texts.txt"
    texts.write_text("a blue ring is small\nwhat is it?\n", "utf-8")
    assert main([*words, "--texts", str(texts)]) == 0
    assert "text alone: logits of 2 texts " in capsys.readouterr().out
    found = json.loads((tmp_path / "results.json").read_text())["text_ability"]
    assert found["num_texts"] == 2
    assert "text alone" in (tmp_path / "report.html").read_text()
    assert main([*words, "--before", "none"]) == 0
    assert "text alone" not in capsys.readouterr().out
    assert json.loads((tmp_path / "results.json").read_text())["text_ability"] is None


@pytest.mark.parametrize(
    ("language", "reason"),
    [
        ("someone/absent", "someone/absent, which the model was built from, is not on this"),
        (None, "has no recipe.json, which tells what the model was built from"),
    ],
)
def test_a_language_model_that_is_not_at_hand_is_missed_aloud(
    language: str | None, reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if language:
        recipe = {"recipe": {"model": {"language": language}}}
        (tmp_path / "recipe.json").write_text(json.dumps(recipe), "utf-8")
    assert language_before(None, str(tmp_path)) is None
    said = capsys.readouterr().err
    assert reason in said
    assert "Name the language model with --before, or none." in said


def test_without_an_image_root_the_folder_of_the_data_is_it(world: World, tmp_path: Path) -> None:
    words = ["eval", str(world.model), "--data", str(world.data), "--output", str(tmp_path)]
    assert main([*words, "--blind"]) == 0
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["provenance"]["blind"] is True


def test_users_names_are_printed_as_they_are(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{**row, "task": "[/red] :smile:"} for row in json_lines(world.data)[:2]]
    # The second conversation goes on after its last answer, which is what is scored.
    rows[1]["messages"].append({"role": "user", "content": "Thanks!"})
    rows[1]["meta"] = {"boxes": [[1, 2, 30, 20]]}
    data, output = tmp_path / "data.jsonl", tmp_path / "[/bold]"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    words = ["eval", str(world.model), "--data", str(data), "--output", str(output)]
    words += ["--image-root", str(world.data.parent), "--max-new-tokens", "3"]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "[/red] :smile:_exact_match  " in said
    assert f"{output / 'report.html'}\n" in said
    samples = json_lines(output / "samples.jsonl")
    assert [sample["target"] for sample in samples] == ["Now 0.", "a blue ring"]
    assert 'class="box truth"' in (output / "report.html").read_text()
    cut = json.loads((output / "results.json").read_text())["answers_cut"]
    assert f"\n{cut} answers were cut off; --max-new-tokens" in said


def test_the_data_sets_of_a_mixture_are_its_tasks(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = json_lines(world.data)[:3]
    for row in rows:
        row["messages"] = [
            {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Where?"}]},
            {"role": "assistant", "content": "[[100,100,600,600]]"},
        ]
        row["images"] = ["images/0-0.png"]
    data = world.data.parent / "boxes.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    entry = f"{{name: where, source: by_content, file: {data}, image_root: {data.parent}}}"
    mixture = tmp_path / "mixture.yaml"
    mixture.write_text(f"asking: {{boxes: cogvlm}}\nentries:\n  - {entry}\n", "utf-8")
    words = ["eval", str(world.model), "--data", str(mixture), "--output", str(tmp_path / "out")]
    assert main([*words, "--benchmark", "grounding"]) == 0
    found = json.loads((tmp_path / "out" / "results.json").read_text())
    assert found["where_box_accuracy"] == found["box_accuracy"] == 0
    (sample, *_) = json_lines(tmp_path / "out" / "samples.jsonl")
    assert sample["boxes"]  # of the truth, as the mixture says that boxes are written
    other = [*words, "--benchmark", "grounding", "--boxes", "shikra"]
    refusal = "the mixture writes boxes as cogvlm, and --boxes is shikra"
    assert refusal in one_line_refusal(other, capsys)


def test_boxes_that_nothing_reads_are_refused(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["eval", str(world.model), "--data", str(world.data), "--output", str(tmp_path)]
    assert "--boxes cogvlm would be ignored" in one_line_refusal(
        [*words, "--boxes", "cogvlm"], capsys
    )


def test_damaged_weights_are_one_line(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = shutil.copytree(world.model, tmp_path / "model")
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    words = ["eval", str(copy), "--data", str(world.data), "--output", str(tmp_path / "out")]
    assert f"the weights in {copy} are damaged" in one_line_refusal(words, capsys)
    assert f"the weights in {copy} are damaged" in one_line_refusal(["chat", str(copy)], capsys)


def test_answers_are_written_with_beams(world: World, tmp_path: Path) -> None:
    predictions = []
    for num_beams in (1, 3):
        output = tmp_path / f"{num_beams}"
        words = ["eval", str(world.model), "--data", str(world.data), "--output", str(output)]
        assert main([*words, "--max-new-tokens", "8", "--num-beams", str(num_beams)]) == 0
        results = json.loads((output / "results.json").read_text())
        assert results["provenance"]["num_beams"] == num_beams
        samples = json_lines(output / "samples.jsonl")
        predictions.append([sample["prediction"] for sample in samples])
    assert predictions[0] != predictions[1]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["MODEL", "--data", "absent.json"], "absent.json does not exist"),
        (["nowhere", "--data", "DATA"], "nowhere holds no config.json"),
        (["MODEL", "--data", "DATA", "--benchmark", "microwrld"], "did you mean 'microworld'?"),
        (
            ["MODEL", "--data", "DATA", "--benchmark", "retrieval"],
            "retrieval is of models that hold",
        ),
        (["MODEL", "--data", "DATA", "--top", "5"], "--top 5 would be ignored"),
        (["MODEL", "--data", "DATA", "--batch-size", "0"], "batch_size is 0; expected 1 or more"),
        (["MODEL", "--data", "DATA", "--num-beams", "0"], "num_beams is 0; expected 1 or more"),
        (["MODEL", "--data", "DATA", "--max-new-tokens", "0"], "max_new_tokens is 0; expected 1"),
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
