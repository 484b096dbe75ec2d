"""Every data set that has a name: its rows in the published schema, and what is wrong with one."""

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from isthmus.data.facts import Item
from isthmus.data.faults import Fault, Filtered
from isthmus.data.sample import Sample
from isthmus.data.sources import read
from isthmus.data.sources._named import load_reader
from isthmus.data.sources.base import Reader
from tests.data.sources import (
    layouts_of_boxes,
    layouts_of_choices,
    layouts_of_places,
    layouts_of_questions,
    layouts_of_texts,
)
from tests.data.sources.layouts import Json, Layout, Plain, write, written

LAYOUTS: tuple[Layout, ...] = (
    *layouts_of_questions.ALL,
    *layouts_of_choices.ALL,
    *layouts_of_texts.ALL,
    *layouts_of_boxes.ALL,
    *layouts_of_places.ALL,
)


def told(reader: Reader, files: dict[str, Path], root: Path) -> list[Item | Sample | str]:
    """What each row says, or why it is not used."""
    found: list[Item | Sample | str] = []
    for number, row in enumerate(reader.rows(files), start=1):
        try:
            found.append(reader.content(row, name=f"row-{number}", image_root=root))
        except Fault as fault:
            found.append(fault.reason)
        except Filtered as filtered:
            found.append(f"filtered {filtered.reason}")
    return found


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.source)
def test_rows_of_a_data_set(layout: Layout, tmp_path: Path) -> None:
    files = written(layout, tmp_path)
    reader = load_reader(layout.source, **layout.options)
    expected = [
        row
        if isinstance(row, str)
        else replace(row, images=tuple(tmp_path / p for p in row.images))
        for row in layout.rows
    ]
    assert told(reader, files, tmp_path) == expected


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.source)
def test_a_data_set_without_one_of_its_files_is_refused(layout: Layout, tmp_path: Path) -> None:
    files = written(layout, tmp_path)
    reader = load_reader(layout.source, **layout.options)
    assert sorted(reader.files) == sorted(files)
    for name in files:
        with pytest.raises(ValueError, match="absent"):
            reader.rows({**files, name: tmp_path / "absent"})


def test_restval_may_be_left_out(tmp_path: Path) -> None:
    layout = layouts_of_texts.KARPATHY
    reader = load_reader("karpathy", restval=False)
    assert told(reader, written(layout, tmp_path), tmp_path)[1] == "filtered split"


def test_another_split_of_flickr(tmp_path: Path) -> None:
    layout = layouts_of_places.FLICKR
    reader = load_reader("flickr30k_entities", split="val")
    found = told(reader, written(layout, tmp_path), tmp_path)
    assert found == ["filtered split"] * 2 + ["no_partner"] + ["filtered split"] * 4


def test_the_small_splits_of_scienceqa(tmp_path: Path) -> None:
    layout = replace(layouts_of_choices.SCIENCEQA, images=("images/test/5/image.png",))
    reader = load_reader("scienceqa", split="minitest")
    found = told(reader, written(layout, tmp_path), tmp_path)
    assert [each.id if isinstance(each, Item) else each for each in found] == [
        "filtered split",
        "filtered split",
        "5",
        "filtered split",
    ]


def test_right_answers_of_visual7w_are_in_every_place(tmp_path: Path) -> None:
    (tmp_path / "v7w_7.jpg").touch()
    pairs = [{**layouts_of_places.TOLD, "qa_id": number} for number in range(400)]
    write(Json(layouts_of_places.seven("telling", *pairs)), tmp_path / "v.json")
    found = told(load_reader("visual7w"), {"file": tmp_path / "v.json"}, tmp_path)
    places = [item.facts[0].index for item in found if isinstance(item, Item)]  # type: ignore[union-attr]
    assert len(places) == 400
    assert min(places.count(place) for place in range(4)) > 70


class _Harm:
    def __reduce__(self) -> Any:
        return print, ("harm",)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (pickle.dumps([_Harm()], protocol=2), "calls __builtin__.print"),
        (pickle.dumps([_Harm()]), "calls builtins.print"),
        (pickle.dumps({"ref_id": 0}), "holds a dict; expected a list"),
        (b"", "is no pickle"),
        # Puts a number into a place of the memo that C's unpickler would make room for.
        (b"K\x00r\xff\xff\xff\x7f.", "holds a int"),
    ],
)
def test_references_are_data_and_nothing_else(
    content: bytes, reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = written(layouts_of_boxes.REFCOCO, tmp_path)
    files["refs"].write_bytes(content)
    with pytest.raises(ValueError, match=reason):
        load_reader("refcoco").rows(files)
    assert capsys.readouterr().out == ""


LRV = {
    "id": "2404796",
    "image": "vg/VG_100K/2404796.jpg",
    "conversations": [
        {"from": "human", "value": "<image>\nIs there a red cup on the shelf?"},
        {"from": "gpt", "value": "No, the shelf holds books only."},
    ],
}
LVIS = {
    "id": "000000131075",
    "image": "coco/train2017/000000131075.jpg",
    "conversations": [
        *(
            {"from": "human", "value": "<image>\nDescribe the scene."},
            {"from": "gpt", "value": "A desk with a screen on it."},
        ),
        *(
            {"from": "human", "value": "What is on the desk?"},
            {"from": "gpt", "value": "A screen."},
        ),
    ],
}


def test_lrv_and_lvis_instruct_are_conversations_as_llava_has_them(tmp_path: Path) -> None:
    for row in (LRV, LVIS):
        path = tmp_path / str(row["image"])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    write(Json([LRV, LVIS]), tmp_path / "mix.json")
    first, second = read(tmp_path / "mix.json", tmp_path)
    assert [message.text for message in first.messages] == [
        "Is there a red cup on the shelf?",
        "No, the shelf holds books only.",
    ]
    assert second.images == (tmp_path / str(LVIS["image"]),)
    assert [message.num_images for message in second.messages] == [1, 0, 0, 0]


def test_a_list_that_is_no_list_refuses_the_file(tmp_path: Path) -> None:
    layout = layouts_of_texts.MSRVTT
    files = written(replace(layout, files={"file": Json({"videos": [], "sentences": 3})}), tmp_path)
    with pytest.raises(ValueError, match=r"has 3 as 'sentences'; expected a list"):
        load_reader("msrvtt").rows(files)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (Json([]), r"holds \[\]; expected one object"),
        (Plain("{"), "is not JSON"),
        (Plain("\ud800".encode("utf-16", "surrogatepass").decode("latin1")), "is not JSON"),
    ],
)
def test_a_file_that_is_no_object_is_refused(content: Any, reason: str, tmp_path: Path) -> None:
    write(content, tmp_path / "file.json")
    with pytest.raises(ValueError, match=reason):
        load_reader("karpathy").rows({"file": tmp_path / "file.json"})
