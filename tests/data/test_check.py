"""Every row of a data file is counted once, and what is odd about the others is told."""

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from isthmus.data.check import check
from tests.tiny_data import rows, write_data

Change = Callable[[dict[str, Any]], None]


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ISTHMUS_CACHE", str(tmp_path / "cache"))
    return write_data(tmp_path / "data", 12)


def rewrite(file: Path, changes: dict[int, Change | str]) -> None:
    """Changes rows of the file, or puts other text in their places."""
    lines = []
    for number, row in enumerate(rows(12)):
        change = changes.get(number, "")
        if callable(change):
            change(row)
        lines.append(change if isinstance(change, str) and change else json.dumps(row))
    file.write_text("".join(f"{line}\n" for line in lines))


def test_a_sound_file(file: Path) -> None:
    census = check(file, file.parent).census
    assert (census.seen, census.usable, census.quarantined) == (12, 12, {})
    assert census.tasks == {"noise": 12}
    assert census.image_files == 12
    assert census.image_width.median == 40
    assert census.image_height.greatest == 24
    assert (census.lengths.images.least, census.lengths.images.greatest) == (0, 2)
    assert census.lengths.turns.greatest == 2
    assert set(asdict(census.duplicates).values()) == {0}
    assert census.boxes.boxes == census.boxes.written == 0


def test_each_fault_is_counted_by_its_reason_and_nothing_stops(file: Path) -> None:
    (file.parent / "images/text.png").write_text("no picture")

    def shows(name: str) -> Change:
        return lambda row: row.update(images=[name])

    bad: dict[int, Change | str] = {
        0: shows("images/none.png"),
        1: shows("images/text.png"),
        4: shows("../outside.png"),
        5: "{half a row",
        6: lambda row: row.update(messages=[]),
        7: lambda row: row["messages"].pop(),
        8: "[1, 2]",
    }
    rewrite(file, bad)
    checked = check(file, file.parent)
    census = checked.census
    assert (census.seen, census.usable) == (12, 5)
    assert census.quarantined == {
        "image_missing": 1,
        "not_an_image": 1,
        "outside_image_root": 1,
        "broken_json": 1,
        "image_marks": 1,
        "no_answer": 1,
        "wrong_layout": 1,
    }
    assert [each.row for each in checked.vetted.rejected] == [number + 1 for number in sorted(bad)]


def test_boxes_that_cannot_be_right_are_counted(file: Path) -> None:
    def boxes(*given: Any) -> Change:
        return lambda row: row.update(meta={"boxes": list(given)})

    def says(text: str) -> Change:
        return lambda row: row["messages"][-1].update(content=text)

    rewrite(
        file,
        {
            0: boxes([1, 2, 30, 20], [0, 0, 40, 24]),
            1: boxes([1, 2, 50, 20]),  # the picture is 40 x 24
            4: boxes([5, 5, 2, 2]),
            5: boxes([1, 1, 1.2, 1.2]),
            8: says("there [[10,20,30,40;50,50,60,60]]"),
            9: says("there [[10,20,30]]"),
        },
    )
    found = check(file, file.parent).census.boxes
    assert (found.boxes, found.malformed, found.outside, found.tiny) == (4, 1, 1, 1)
    assert (found.written, found.unread) == (2, 1)


def test_what_is_there_twice_is_counted(file: Path) -> None:
    images = file.parent / "images"
    shutil.copy(images / "0-0.png", images / "1-0.png")
    again = json.dumps({**rows(1)[0], "id": "other"})
    rewrite(file, {5: lambda row: row.update(id="row-4"), 11: again})
    census = check(file, file.parent).census
    assert census.duplicates.ids == 1
    assert census.duplicates.images == 1
    assert census.duplicates.samples == 1
