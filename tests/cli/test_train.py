"""`isthmus train`: the contract that scripts rely on."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoModelForImageTextToText, AutoProcessor

from isthmus.cli import main
from tests.cli.conftest import World, json_lines, one_line_refusal


def log_of(folder: Path) -> list[dict[str, Any]]:
    return json_lines(folder / "log.jsonl")


def recipe_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "recipe.json").read_text())["recipe"]


def test_training_leaves_a_model_that_stock_classes_load(world: World) -> None:
    model = AutoModelForImageTextToText.from_pretrained(world.model)
    processor = AutoProcessor.from_pretrained(world.model)
    assert model.config.image_token_id == processor.image_token_id
    assert [line["step"] for line in log_of(world.model) if "loss" in line] == [1, 2, 3]


def test_the_users_data_takes_the_place_of_the_recipes(world: World) -> None:
    assert recipe_of(world.model)["stages"][0]["data"] == {
        "kind": "file_data",
        "file": world.data.as_posix(),
        "image_root": world.data.parent.as_posix(),
        "max_bad_share": 0.05,
        "lazy": False,
        "samples": None,
    }


def test_flags_after_the_path_of_a_field_override_it(world: World, tmp_path: Path) -> None:
    words = ["train", str(world.recipe), "--output", str(tmp_path / "run"), "--connector", "mlp"]
    words += ["--stages.0.schedule.batch-size", "12", "--model.connector.depth", "1"]
    assert main(words) == 0
    recipe = recipe_of(tmp_path / "run")
    assert recipe["stages"][0]["schedule"]["batch_size"] == 12
    assert recipe["stages"][0]["data"]["kind"] == "microworld_data"
    assert recipe["model"]["connector"] == {
        "kind": "mlp",
        "depth": 1,
        "activation": "gelu",
        "patch_multiplier": None,
    }
    assert [line["step"] for line in log_of(tmp_path / "run") if "loss" in line] == [1]


def test_a_chat_template_of_ones_own_is_a_flag(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mine.jinja"
    file.write_text("{% for m in messages %}({{ m.role }}) {{ m.content }}</s>{% endfor %}")
    words = ["train", str(world.recipe), "--output", str(tmp_path / "run")]
    words += ["--stages.0.schedule.batch-size", "12", "--model.chat-template"]
    assert main([*words, str(file)]) == 0
    processor = AutoProcessor.from_pretrained(tmp_path / "run")
    assert processor.chat_template == file.read_text()
    capsys.readouterr()
    absent = tmp_path / "absent.jinja"
    words[3] = str(tmp_path / "other")
    assert str(absent) in one_line_refusal([*words, str(absent)], capsys)


def test_a_users_validation_file_is_logged_beside_the_data(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", str(world.recipe), "--output", str(tmp_path / "run")]
    held_out = ["--validation", str(world.data)]
    assert main([*words, "--data", str(world.data), *held_out]) == 0
    logged = [line["step"] for line in log_of(tmp_path / "run") if "validation_loss" in line]
    assert logged[-1] == 3
    capsys.readouterr()
    words[3] = str(tmp_path / "other")
    assert "--validation" in one_line_refusal([*words, *held_out], capsys)
    absent = [*words, "--data", str(world.data), "--validation", str(tmp_path / "no.json")]
    assert "no.json does not exist" in one_line_refusal(absent, capsys)


def test_help_on_a_recipe_shows_its_fields(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["train", str(world.recipe), "--help"])
    assert stop.value.code == 0
    assert "--stages.0.schedule.batch-size" in capsys.readouterr().out


def test_a_misspelt_override_is_refused(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", str(world.recipe), "--output", str(tmp_path / "run")]
    with pytest.raises(SystemExit) as stop:
        main([*words, "--stages.0.schedule.batch-siz", "12"])
    assert stop.value.code == 2
    assert "--stages.0.schedule.batch-size" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_resume_goes_on_from_the_last_checkpoint(world: World, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(world.model, run)
    words = ["train", str(world.recipe), "--data", str(world.data), "--output", str(run)]
    words += ["--image-root", str(world.data.parent), "--resume"]
    # As a run that was killed before its third step had been kept.
    shutil.rmtree(run / "checkpoints" / "step-00000003")
    (run / "model.safetensors").unlink()
    assert main(words) == 0
    lines = log_of(run)
    resumed = next(n for n, line in enumerate(lines) if "resumed_from" in line)
    assert lines[resumed]["resumed_from"] == 2
    assert [line["step"] for line in lines[resumed:] if "loss" in line] == [3]
    assert (run / "model.safetensors").read_bytes() == (
        world.model / "model.safetensors"
    ).read_bytes()


def test_resume_starts_fresh_where_there_is_no_checkpoint(world: World, tmp_path: Path) -> None:
    words = ["train", str(world.recipe), "--output", str(tmp_path / "run"), "--resume"]
    assert main(words) == 0
    lines = log_of(tmp_path / "run")
    assert [line["step"] for line in lines if "loss" in line] == [1, 2, 3]
    assert not any("resumed_from" in line for line in lines)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--data", "absent.json"], "data file absent.json does not exist"),
        (["--image-root", "."], "without --data"),
        (["--data", "DATA", "--image-root", "absent"], "image root absent does not exist"),
        (["--connector", "pol"], "unknown kind of isthmus.connectors 'pol'"),
        (["--model.vision", "microworld:siglib"], "siglib"),
        (["--max-bad-share", "0.5"], "reads no file of yours"),
        (["--model.vision", "./absent"], "there is no folder ./absent"),
        (["--model.language", "/absent/deep/down"], "there is no folder /absent/deep/down"),
        (["--model.language", "EMPTY"], "holds no config.json"),
    ],
)
def test_a_wrong_setting_is_one_line(
    words: list[str],
    reason: str,
    world: World,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "empty").mkdir()
    paths = {"DATA": str(world.data), "EMPTY": str(tmp_path / "empty")}
    words = [paths.get(word, word) for word in words]
    assert reason in one_line_refusal(
        ["train", str(world.recipe), "--output", str(tmp_path / "run"), *words], capsys
    )


def test_a_folder_that_holds_a_run_is_not_overwritten(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", str(world.recipe), "--output", str(world.model)]) == 2
    assert str(world.model) in capsys.readouterr().err


def test_a_folder_that_holds_an_evaluation_is_not_taken_over(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "results.json").write_text("{}")
    words = ["train", str(world.recipe), "--output", str(tmp_path)]
    assert "holds results.json" in one_line_refusal(words, capsys)


def test_a_share_given_alone_is_that_of_the_recipes_files(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = json.loads((world.model / "recipe.json").read_text())["recipe"]
    data = tmp_path / "data.jsonl"
    data.write_text(world.data.read_text() + "{broken\n")
    recipe["stages"][0]["data"]["file"] = str(data)
    (tmp_path / "mine.json").write_text(json.dumps(recipe))
    words = ["train", str(tmp_path / "mine.json"), "--output", str(tmp_path / "run")]
    assert "--max-bad-share" in one_line_refusal(words, capsys)
    assert main([*words, "--max-bad-share", "0.1"]) == 0
    assert recipe_of(tmp_path / "run")["stages"][0]["data"]["max_bad_share"] == 0.1


def test_faulty_rows_are_left_out_and_named(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data.jsonl"
    data.write_text(world.data.read_text() + "{broken\n")
    recipe = json.loads(world.recipe.read_text())
    recipe["stages"].append({**recipe["stages"][0], "name": "again"})
    (tmp_path / "twice.json").write_text(json.dumps(recipe))
    root = ["--image-root", str(world.data.parent)]
    words = ["train", str(tmp_path / "twice.json"), "--data", str(data), *root, "--output"]
    said = one_line_refusal([*words, str(tmp_path / "strict")], capsys)
    assert "1 of 13 rows cannot be used (1 broken_json)" in said
    assert "--max-bad-share" in said
    run = tmp_path / "run"
    assert main([*words, str(run), "--max-bad-share", "0.1"]) == 0
    assert "rows that cannot be used: 1; quarantine.jsonl says why" in capsys.readouterr().out
    (row,) = json_lines(run / "quarantine.jsonl")
    assert (row["row"], row["reason"], row["file"]) == (13, "broken_json", str(data))
    stages = json.loads((run / "recipe.json").read_text())["stages"]
    assert stages[0]["rejected"] == {"broken_json": 1}
    assert stages[0]["samples"] == 12

    asked = ["eval", str(run), "--data", str(data), *root, "--output", str(tmp_path / "eval")]
    assert "1 of 13 rows" in one_line_refusal(asked, capsys)
    assert main([*asked, "--max-bad-share", "0.1"]) == 0
    results = json.loads((tmp_path / "eval/results.json").read_text())
    assert results["rejected"] == {"broken_json": 1}
    assert len(json_lines(tmp_path / "eval/samples.jsonl")) == 12
    assert json_lines(tmp_path / "eval/quarantine.jsonl") == [row]
    page = re.sub(r"<[^>]*>|\s+", " ", (tmp_path / "eval/report.html").read_text())
    assert re.search(r"rows not asked about +1: 1 broken_json", page)
    # Two stages met the same row.
    assert re.search(r"rows not trained on +1: 1 broken_json", page)
    assert "1: 1 broken_json" in page


def test_a_tower_without_weights_is_named(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tower = Path(json.loads(world.recipe.read_text())["model"]["vision"])
    shutil.copytree(tower, tmp_path / "tower", ignore=shutil.ignore_patterns("*.safetensors"))
    words = ["train", str(world.recipe), "--output", str(tmp_path / "run")]
    said = one_line_refusal([*words, "--model.vision", str(tmp_path / "tower")], capsys)
    assert f"{tmp_path / 'tower'} holds no weights that can be loaded" in said
