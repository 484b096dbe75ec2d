"""The corrupted captions are other pictures' own, and what becomes of them is counted."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.capfilt import (
    CORRUPTED,
    SETTINGS,
    census,
    learning_from,
    of_other_pictures,
    write_corrupted,
)
from isthmus.microworld.export import export
from isthmus.training.data import FileData, MicroworldData


@pytest.fixture
def clean(tmp_path: Path) -> Path:
    export(tmp_path, split="train", num=20, turns=1, tasks=("caption",))
    return tmp_path / "messages.jsonl"


def rows(file: Path) -> list[dict]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_some_pictures_get_the_caption_of_another(clean: Path, tmp_path: Path) -> None:
    write_corrupted(clean, tmp_path / "corrupted.jsonl")
    before, after = rows(clean), rows(tmp_path / "corrupted.jsonl")
    assert [row["images"] for row in before] == [row["images"] for row in after]
    changed = [a["messages"] != b["messages"] for a, b in zip(before, after, strict=True)]
    assert changed == [row["meta"].get("corrupted", False) for row in after]
    assert sum(changed) == CORRUPTED * len(before)

    def told(of: list[dict]) -> list[str]:
        return sorted(json.dumps(row["messages"]) for row in of)

    assert told(before) == told(after)


def test_what_became_of_each_caption_is_counted(clean: Path, tmp_path: Path) -> None:
    corrupted, filtered = tmp_path / "corrupted.jsonl", tmp_path / "filtered.jsonl"
    write_corrupted(clean, corrupted)
    lines = []
    for number, row in enumerate(rows(corrupted)):
        source = "generated" if number % 2 else "original"
        lines.append(json.dumps({**row, "meta": {"capfilt": {"source": source}}}) + "\n")
    filtered.write_text("".join(lines))
    wrong = [number for number, row in enumerate(rows(corrupted)) if row["meta"].get("corrupted")]
    odd = sum(number % 2 for number in wrong)
    assert census(corrupted, filtered) == {
        "true_kept": 10 - (len(wrong) - odd),
        "true_written": 10 - odd,
        "wrong_kept": len(wrong) - odd,
        "wrong_written": odd,
    }


def test_no_picture_teaches_both_the_captioner_and_an_arm() -> None:
    (stage,) = of_other_pictures().stages
    assert stage.data.seed != MicroworldData(split="train", num=1).seed
    assert stage.data.split == "train"


def test_what_was_filtered_is_learned_in_as_many_steps(tmp_path: Path) -> None:
    data = FileData(file=tmp_path / "a.jsonl", image_root=tmp_path)
    plain, filtered = learning_from(data).stages[0], learning_from(data, filtered=True).stages[0]
    assert filtered.schedule.epochs * SETTINGS.keep == plain.schedule.epochs
    assert filtered == replace(plain, schedule=filtered.schedule)
