"""`isthmus data check` tells what a file holds, in words, as JSON and as a page."""

import json
from pathlib import Path

import pytest

from isthmus.cli import main
from isthmus.microworld.render import render
from isthmus.microworld.scene import scenes
from isthmus.microworld.tasks.caption import caption_text
from tests.data.building.microworld_detector import MicroworldDetector
from tests.report.test_page import HOSTILE, Outline
from tests.tiny_data import write_data
from tests.training.tiny_mixture import write_mixture


def test_a_file_is_checked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ISTHMUS_CACHE", str(tmp_path / "cache"))
    file, output = write_data(tmp_path / "data", 6), tmp_path / "found"
    odd = {"id": HOSTILE, "images": [], "messages": [{"role": "user", "content": HOSTILE}]}
    said = [{"role": "user", "content": HOSTILE}, {"role": "assistant", "content": HOSTILE}]
    lines = [json.dumps({"id": HOSTILE, "images": [], "messages": said}), json.dumps(odd), "{"]
    file.write_text(file.read_text() + "\n".join(lines) + "\n")
    assert main(["data", "check", str(file), "--output", str(output)]) == 0
    told = capsys.readouterr().out
    assert f"7 of 9 rows of {file} can be used." in " ".join(told.split())
    census = json.loads((output / "check.json").read_text())
    assert (census["seen"], census["usable"]) == (9, 7)
    assert census["quarantined"] == {"no_answer": 1, "broken_json": 1}
    rows = [json.loads(line) for line in (output / "quarantine.jsonl").read_text().splitlines()]
    assert [row["reason"] for row in rows] == ["no_answer", "broken_json"]
    assert rows[0]["id"] == HOSTILE
    page = Outline((output / "check.html").read_text())
    assert "script" not in {tag for tag, _ in page.tags}
    assert "7 of 9 rows can be used." in " ".join(page.text.split())
    pictures = [tag for tag, given in page.tags if given.get("class", "") == "picture crisp"]
    assert len(pictures) == 6
    # Once mended, nothing of the old faults stays.
    write_data(tmp_path / "data", 6)
    assert main(["data", "check", str(file), "--output", str(output)]) == 0
    assert (output / "quarantine.jsonl").read_text() == ""


def test_each_data_set_of_a_mixture_is_checked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ISTHMUS_CACHE", str(tmp_path / "cache"))
    file, output = write_mixture(tmp_path / "mixture"), tmp_path / "found"
    assert main(["data", "check", str(file), "--output", str(output)]) == 0
    told = " ".join(capsys.readouterr().out.split())
    for name, usable, reasons in (
        ("said", 22, {}),
        ("told", 20, {"image_damaged": 1, "empty_answer": 1}),
        ("asked", 21, {"image_missing": 1}),
    ):
        census = json.loads((output / name / "check.json").read_text())
        assert (census["seen"], census["usable"], census["quarantined"]) == (22, usable, reasons)
        assert f"{usable} of 22 rows of {name} in {file} can be used." in told
        assert (output / name / "check.html").exists()
    assert main(["data", "check", str(file), "--output", "x", "--image-root", str(tmp_path)]) == 2
    assert "whose data sets have image roots of their own" in capsys.readouterr().err


def test_what_is_no_data_file_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", "check", str(tmp_path / "none"), "--output", str(tmp_path / "out")]) == 2
    assert "does not exist" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_captions_get_the_boxes_of_what_they_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    known, lines = {}, ["no object"]
    for number, (scene, _) in enumerate(scenes("train", 6)):
        path = tmp_path / f"{number}.png"
        render(scene).save(path)
        known[path] = scene
        lines.append(json.dumps({"picture": path.name, "caption": caption_text(scene)}))
    (tmp_path / "rows.jsonl").write_text("\n".join(lines))
    monkeypatch.setattr(
        "isthmus.evaluation.owl.OwlDetector", lambda name, **_: MicroworldDetector(known)
    )
    command = ["data", "ground", str(tmp_path / "rows.jsonl"), "--detector", "any"]
    command += ["--output", str(tmp_path / "out.jsonl"), "--image-column", "picture"]
    assert main(command) == 0
    told = " ".join(capsys.readouterr().out.split())
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert f"{len(rows)} of 6 rows have grounded captions" in told
    assert "no objects, passed over: 1" in told
    assert "[[" in rows[0]["messages"][1]["content"]
    assert rows[0]["id"] == "rows-2"  # the line, since it has no id of its own
    assert main(command) != 0
    assert "is there already" in capsys.readouterr().err
