"""The embedded data on disk: one truth in two layouts, read by the readers of users' files."""

import json
from pathlib import Path

import pytest
from PIL import Image

from isthmus.data import sources
from isthmus.microworld.export import export
from isthmus.microworld.render import render
from isthmus.microworld.scene import SPLITS, Split, scenes


def rows(directory: Path) -> list[dict]:
    return [json.loads(line) for line in (directory / "messages.jsonl").read_text().splitlines()]


def test_both_layouts_hold_the_same_conversations(tmp_path: Path) -> None:
    export(tmp_path, split="train", num=40)
    canonical = list(sources.read(tmp_path / "messages.jsonl", tmp_path))
    llava = list(sources.read(tmp_path / "llava.json", tmp_path))
    assert len(canonical) == 40
    assert canonical == llava


def test_pictures_are_the_scenes(tmp_path: Path) -> None:
    export(tmp_path, split="test", num=20)
    for row, (scene, _) in zip(rows(tmp_path), scenes("test", 20), strict=True):
        for name in row["images"]:
            with Image.open(tmp_path / name) as picture:
                assert picture.tobytes() == render(scene).tobytes()


def test_a_larger_export_begins_with_the_smaller_one(tmp_path: Path) -> None:
    export(tmp_path / "small", split="val", num=5)
    export(tmp_path / "large", split="val", num=15)
    assert rows(tmp_path / "large")[:5] == rows(tmp_path / "small")


@pytest.mark.parametrize("split", SPLITS)
def test_turns_and_tags(tmp_path: Path, split: Split) -> None:
    export(tmp_path, split=split, num=30)
    for row in rows(tmp_path):
        turns = len(row["messages"]) // 2
        assert turns == len(row["meta"]["tasks"]) == (6 if split == "train" else 1)
        assert row["task"] == row["meta"]["tasks"][-1]
        marks = [part["type"] for part in row["messages"][0]["content"]].count("image")
        assert marks == len(row["images"])


def test_only_questions_in_a_style_say_so(tmp_path: Path) -> None:
    export(tmp_path / "plain", split="test", num=20)
    export(tmp_path / "styled", split="train", num=20, tasks=("short_answer", "chat_answer"))

    def asked(name: str) -> list[tuple[str, str | None]]:
        samples = sources.read(tmp_path / name / "messages.jsonl", tmp_path / name)
        return [
            (task, turn.style)
            for sample in samples
            for task, turn in zip(sample.meta["tasks"], sample.messages[::2], strict=True)
        ]

    assert {style for _, style in asked("plain")} == {None}
    styled = {("short_answer", "short"), ("chat_answer", "chat")}
    assert set(asked("styled")) == styled


def test_text_only_rows_have_no_picture(tmp_path: Path) -> None:
    export(tmp_path, split="test", num=20, tasks=("scene_qa", "sorting"))
    assert all(row["images"] == [] for row in rows(tmp_path))
    assert {row["task"] for row in rows(tmp_path)} == {"scene_qa", "sorting"}


def test_unknown_task_names_the_tasks(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"'color'.*colour"):
        export(tmp_path, split="test", num=1, tasks=("color",))


def test_scenes_that_allow_no_question_are_passed_over(tmp_path: Path) -> None:
    export(tmp_path, split="test", num=5, tasks=("reading",))
    found = [json.loads(line) for line in (tmp_path / "messages.jsonl").read_text().splitlines()]
    assert [row["task"] for row in found] == ["reading"] * 5
    assert max(row["meta"]["scene"] for row in found) > 4
