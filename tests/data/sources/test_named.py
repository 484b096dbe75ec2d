"""Readers by name, their options, and field maps of one's own."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from isthmus import kinds
from isthmus.data.facts import Answered, Chosen, Item, Located, Pointed
from isthmus.data.faults import Fault, Filtered
from isthmus.data.sources import _named
from isthmus.data.sources._field_map import FieldMap
from isthmus.data.sources._fields import Fields, known_maps
from isthmus.data.sources._named import load_reader, names
from isthmus.data.sources.base import Reader
from isthmus.data.sources.karpathy import Karpathy
from isthmus.data.sources.mmc4 import Mmc4

MINE = {"fact": "vqa", "fields": {"question": "q", "answer": "a"}, "image": "{file}"}


def _rows(root: Path, given: dict[str, Any], content: str) -> list[Any]:
    """What the rows of a file say under a field map."""
    (root / "1.png").touch()
    (root / "data").write_text(content, encoding="utf-8")
    reader = load_reader(given)
    rows = reader.rows({"file": root / "data"})
    return [reader.content(row, name=f"row-{n}", image_root=root) for n, row in enumerate(rows)]


def test_a_reader_has_the_options_that_it_is_given() -> None:
    assert load_reader("karpathy") == Karpathy(split="train", restval=True)
    assert load_reader("karpathy", split="val", restval=False) == Karpathy(
        split="val", restval=False
    )
    assert load_reader("mmc4", placement="after") == Mmc4(placement="after")


def test_a_field_map_has_the_keys_that_it_is_given() -> None:
    reader = load_reader("ocr_vqa", where={"split": [3]}, image="covers/{key}.jpg")
    assert isinstance(reader, Fields)
    assert reader.field_map.where == {"split": (3,)}
    assert reader.field_map.images == ("covers/{key}.jpg",)
    assert reader.field_map.each == ("questions", "answers")
    assert load_reader(MINE, image="x/{file}") == load_reader({**MINE, "image": "x/{file}"})


@pytest.mark.parametrize(
    ("source", "options", "reason"),
    [
        ("karpathi", {}, r"unknown source 'karpathi'; did you mean 'karpathy'\? \(valid: ai2d, "),
        ("base", {}, "unknown source 'base'"),
        ("../vqa", {}, "unknown source"),
        ("llava_json", {}, "unknown source 'llava_json'"),  # known by its content, not by name
        ("karpathy", {"splt": "val"}, r"did you mean 'split'\? \(valid: split, restval\)"),
        ("karpathy", {"split": "tset"}, "unknown split of the source karpathy 'tset'; .*'test'"),
        ("karpathy", {"split": ["val"]}, "unknown split of the source karpathy"),
        ("karpathy", {"restval": "no"}, r"restval is 'no' \(str\); expected bool"),
        ("obelics", {"placement": "after"}, "unknown key 'placement'"),
        ("vqa", {"image": "{image_id:5.2f}"}, "a field that cannot be filled"),
        ("refcoco", {"image": "{}"}, "a field that cannot be filled"),
        ("mdetr", {"image": "{file_name"}, "no name with fields in braces"),
        ("gqa", {"imge": "x"}, r"unknown key 'imge'; did you mean 'image'\?"),
        ("gqa", {"image": "{imageId!r}"}, "a field that cannot be filled"),
        (MINE, {"fact": "vaq"}, "fact is 'vaq'"),
        (MINE, {"fields": {"question": "q"}}, "a fact vqa lack answer"),
        (MINE, {"fields": {**MINE["fields"], "choice": "c"}}, "unknown attribute of the fact vqa"),  # type: ignore[dict-item]
        (MINE, {"format": "csv", "rows": "data"}, "neither rows nor key"),
        (MINE, {"columns": ["a"]}, "those of a table"),
        (MINE, {"format": "csv", "delimiter": ""}, "expected one character"),
        ({"fact": "vqa"}, {}, "lacks fields"),
    ],
)
def test_what_is_not_known_is_refused(source: Any, options: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        load_reader(source, **options)


def test_no_field_map_hides_a_reader() -> None:
    assert not set(known_maps()) & set(kinds.names(_named.PACKAGE))
    assert set(known_maps()) < set(names())
    assert {"vqa", "refcoco", "gqa", "vsr"} < set(names())


@pytest.mark.parametrize("name", sorted(known_maps()))
def test_a_field_map_comes_back_from_json(name: str) -> None:
    field_map = FieldMap.from_dict(known_maps()[name])
    assert FieldMap.from_dict(json.loads(json.dumps(field_map.to_dict()))) == field_map


def test_lines_constants_and_several_images(tmp_path: Path) -> None:
    given = {
        **MINE,
        "image": ["{file}", "{folder}/{file}"],
        "constants": {"folder": ".", "a": "none"},
        "id": "{n:03d}-{folder}",
        "task": "mine",
        "meta": ["more.x", "absent"],
    }
    lines = (
        '{"q": "Who?", "file": "1.png", "n": 7, "more": {"x": [1]}}\n\n{"q": 3, "file": "1.png",'
    )
    first, second = _rows(tmp_path, given, f'{lines} "a": "I", "n": "8"}}\n')
    image = tmp_path / "1.png"
    assert first == Item(
        id="007-.",
        images=(image, image),
        facts=(Answered(question="Who?", answer="none"),),
        task="mine",
        meta={"more.x": [1]},
    )
    assert (second.id, second.facts) == ("008-.", (Answered(question="3", answer="I"),))


def test_choices_in_several_fields_and_an_answer_by_letter(tmp_path: Path) -> None:
    given = {
        "fact": "choice",
        "fields": {
            "question": "question",
            "choices": ["A", "B", "C", "D"],
            "index": "answer",
            "context": "hint",
        },
        "format": "csv",
        "delimiter": "\t",
    }
    table = "question\thint\tA\tB\tC\tD\tanswer\nWhich?\t\tone\ttwo\tthree\t\tC\n"
    (item,) = _rows(tmp_path, given, table)
    assert item.facts == (
        Chosen(question="Which?", choices=("one", "two", "three"), index=2, context=""),
    )
    assert item.images == ()


def test_boxes_in_several_fields_with_a_size(tmp_path: Path) -> None:
    given = {
        "fact": "region",
        "fields": {"phrase": "name", "box": ["x", "y", "w", "h"], "size": ["width", "height"]},
        "box": "xywh",
        "format": "csv",
        "columns": ["x", "y", "w", "h", "width", "height", "name"],
    }
    (item,) = _rows(tmp_path, given, "1,2,3,4.5,64,48,a cup, red\r\n")
    assert item.facts == (Located(phrase="a cup, red", box=(1.0, 2.0, 4.0, 6.5), size=(64, 48)),)


def test_candidates_in_a_list(tmp_path: Path) -> None:
    given = {
        "fact": "pointing",
        "fields": {"question": "q", "boxes": "c.box", "index": "right", "size": "size"},
    }
    row = {"q": "Which?", "c": [{"box": [0, 0, 1, 1]}, {"box": [1, 1, 2, 2]}], "right": 1}
    whole = json.dumps([row | {"size": [4, 5]}, row | {"size": None}])
    told, untold = _rows(tmp_path, given, whole)
    boxes = ((0.0, 0.0, 1.0, 1.0), (1.0, 1.0, 2.0, 2.0))
    assert told.facts == (Pointed(question="Which?", boxes=boxes, index=1, size=(4, 5)),)
    assert untold.facts == (Pointed(question="Which?", boxes=boxes, index=1),)


ROW = {"q": "Who?", "a": "I", "file": "1.png", "l": ["a", "b"], "m": ["c"]}


@pytest.mark.parametrize(
    ("changes", "row", "reason", "message"),
    [
        ({}, {"a": None}, "no_answer", "has no answer, expected in 'a'"),
        ({}, {"q": None}, "no_question", "has no question, expected in 'q'"),
        ({}, {"a": ["I"]}, "wrong_layout", r"answer is \['I'\]; expected a string"),
        ({}, {"a": True}, "wrong_layout", "answer is True; expected a string"),
        ({}, {"a": float("nan")}, "wrong_layout", "answer is nan; expected a string"),
        ({}, {"file": None}, "wrong_layout", "file is None; expected a string"),
        ({}, {"file": "2.png"}, "image_missing", "'2.png' is not in"),
        ({}, {"file": "../1.png"}, "outside_image_root", "leaves the image root"),
        ({"image": "{n:03d}"}, {"n": 1.5}, "wrong_layout", "n is 1.5; expected a whole number"),
        ({"image": "{n:03d}"}, {"n": 10**400}, "wrong_layout", "n is 1000.*; expected a number"),
        ({"image": "{n:03d}"}, {"n": "x"}, "wrong_layout", "n is 'x'; expected a number"),
        ({"each": ["l", "m"]}, {}, "wrong_layout", "l, m have 2, 1 places; expected one"),
        ({"each": ["q"]}, {}, "wrong_layout", "q is 'Who\\?'; expected a list"),
        ({"meta": ["q"], "id": "{z}"}, {}, "wrong_layout", "z is None; expected a string"),
    ],
)
def test_a_faulty_row_is_named(
    changes: dict[str, Any], row: dict[str, Any], reason: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(Fault, match=message) as caught:
        _rows(tmp_path, {**MINE, **changes}, json.dumps([{**ROW, **row}]))
    assert caught.value.reason == reason


def test_rows_are_filtered_by_any_field(tmp_path: Path) -> None:
    given = {**MINE, "where": {"a.b": ["I", None]}}
    assert _rows(tmp_path, {**given, "fields": {"question": "q", "answer": "a.b"}}, _told("I"))
    with pytest.raises(Filtered) as caught:
        _rows(tmp_path, given, _told("you"))
    assert caught.value.reason == "a.b"


def _told(answer: str) -> str:
    return json.dumps([{**ROW, "a": {"b": answer}}])


@pytest.mark.parametrize(
    ("changes", "content", "reason"),
    [
        ({"rows": "data"}, "[]", "under 'data'; expected a list of rows"),
        ({"rows": "data.x"}, '{"data": {"x": 3}}', "has 3 under 'data.x'"),
        ({"key": "n"}, "[]", r"has \[\]; expected an object of rows"),
        ({"rows": "data", "key": "n"}, '{"data": []}', "under 'data'; expected an object of rows"),
        ({}, "[{", "is not JSON"),
        ({"format": "csv"}, f"q,a\n{'x' * 140_000},1\n", "is no table of values"),
    ],
)
def test_a_file_of_another_layout_is_refused(
    changes: dict[str, Any], content: str, reason: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=reason):
        _rows(tmp_path, {**MINE, **changes}, content)


def test_an_object_of_rows_within_a_document(tmp_path: Path) -> None:
    given = {**MINE, "rows": "data.val", "key": "n", "id": "{n}"}
    document = {"data": {"val": {"x": ROW}}}
    (item,) = _rows(tmp_path, given, json.dumps(document))
    assert item.id == "x"


@dataclass(frozen=True, kw_only=True)
class _Sized(Reader):
    needed: int
    size: float = 1.0

    def rows(self, files: Mapping[str, Path]) -> Sequence[Any]:
        return []

    def content(self, row: Any, *, name: str, image_root: Path) -> Item:
        raise NotImplementedError


def test_an_option_without_a_default_has_to_be_given() -> None:
    with pytest.raises(ValueError, match=r"the source x lacks needed"):
        _named._checked("x", _Sized, {})
    assert _named._checked("x", _Sized, {"needed": 1, "size": 2}) == {"needed": 1, "size": 2.0}
