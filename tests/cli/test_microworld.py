"""`isthmus microworld`: scenes on disk, and the towers."""

import json
from pathlib import Path

import pytest

from isthmus.cli import main
from isthmus.data.sources import read
from tests.cli.conftest import json_lines


def test_export_writes_both_layouts_of_the_same_scenes(tmp_path: Path) -> None:
    words = ["microworld", "export", str(tmp_path), "--split", "test", "--num", "5", "--seed", "3"]
    assert main(words) == 0
    samples = {
        name: list(read(tmp_path / name, tmp_path)) for name in ("messages.jsonl", "llava.json")
    }
    assert len(samples["messages.jsonl"]) == 5
    answers = {
        name: [sample.messages[-1].text for sample in found] for name, found in samples.items()
    }
    assert answers["messages.jsonl"] == answers["llava.json"]


def test_export_can_be_limited_to_tasks(tmp_path: Path) -> None:
    words = ["microworld", "export", str(tmp_path), "--split", "val", "--num", "6"]
    assert main([*words, "--task", "count"]) == 0
    rows = json_lines(tmp_path / "messages.jsonl")
    assert {row["task"] for row in rows} == {"count"}


def test_an_unknown_task_lists_the_tasks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["microworld", "export", str(tmp_path), "--split", "val", "--num", "6"]
    assert main([*words, "--task", "cont"]) == 2
    assert "count" in capsys.readouterr().err


def test_an_unknown_tower_is_not_built(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["microworld", "build", "--weights", str(tmp_path), "--work", str(tmp_path)]
    assert main([*words, "--only", "sigllip"]) == 2
    assert "siglip" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_installed_towers_are_listed_with_their_folders(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    facts = {"parameters": 1234567}
    (tmp_path / "provenance.json").write_text(json.dumps(facts))
    monkeypatch.setattr("isthmus.microworld.towers.names", lambda: ["siglip"])
    monkeypatch.setattr("isthmus.microworld.towers.path", lambda name: tmp_path)
    assert main(["microworld", "towers"]) == 0
    assert capsys.readouterr().out == f"microworld:siglip  1,234,567 parameters  {tmp_path}\n"
