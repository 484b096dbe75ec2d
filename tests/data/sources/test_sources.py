"""Data files of both layouts become the same samples; each faulty row is one clear error."""

import json
from pathlib import Path
from typing import Any

import pytest

from isthmus.data.sample import ImagePart, Message, Sample, Text
from isthmus.data.sources import read
from tests.tiny import tiny_image

MESSAGES = {
    "id": "a",
    "task": "count",
    "images": ["images/1.png", "images/2.png"],
    "messages": [
        {"role": "system", "content": "Be brief."},
        {
            "role": "user",
            "content": [
                {"type": "image"},
                {"type": "text", "text": "one and "},
                {"type": "image"},
                {"type": "text", "text": "another\n\nHow many?"},
            ],
        },
        {"role": "assistant", "content": [{"type": "text", "text": "two"}]},
    ],
    "meta": {"boxes": [[0, 1, 2, 3]]},
}
LLAVA = {
    "id": "a",
    "task": "count",
    "image": ["images/1.png", "images/2.png"],
    "conversations": [
        {"from": "system", "value": "Be brief."},
        {"from": "human", "value": "<image>\none and \n<image>another\n\nHow many?"},
        {"from": "gpt", "value": "two"},
    ],
    "meta": {"boxes": [[0, 1, 2, 3]]},
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    for number in (1, 2):
        tiny_image(number).save(tmp_path / "images" / f"{number}.png")
    return tmp_path


def _write(root: Path, text: str) -> Path:
    file = root / "data.json"
    file.write_text(text, encoding="utf-8")
    return file


def _read(root: Path, row: Any) -> list[Sample]:
    return list(read(_write(root, json.dumps(row) + "\n"), root))


@pytest.mark.parametrize("as_array", [False, True])
def test_both_layouts_give_the_same_sample(root: Path, as_array: bool) -> None:
    expected = Sample(
        id="a",
        task="count",
        images=(root / "images/1.png", root / "images/2.png"),
        messages=(
            Message("system", (Text("Be brief."),)),
            Message(
                "user",
                (ImagePart(), Text("one and "), ImagePart(), Text("another\n\nHow many?")),
            ),
            Message("assistant", (Text("two"),)),
        ),
        meta={"boxes": [[0, 1, 2, 3]]},
    )
    for row in (MESSAGES, LLAVA):
        assert _read(root, [row] if as_array else row) == [expected]


def test_layouts_may_mix_and_blank_lines_do_not_count_as_rows(root: Path) -> None:
    unnamed = {key: value for key, value in LLAVA.items() if key != "id"}
    file = _write(root, f"\n{json.dumps(MESSAGES)}\n\n{json.dumps(unnamed)}\n")
    assert [sample.id for sample in read(file, root)] == ["a", "data-4"]


def test_a_single_image_and_plain_content(root: Path) -> None:
    row = {
        "image": "images/1.png",
        "messages": [
            {"role": "user", "content": [{"type": "image"}]},
            {"role": "assistant", "content": "noise"},
        ],
    }
    (sample,) = _read(root, row)
    assert sample.images == (root / "images/1.png",)
    assert sample.messages[1].text == "noise"


@pytest.mark.parametrize("key", ["image", "path"])
def test_parts_may_hold_their_images(root: Path, key: str) -> None:
    row = json.loads(json.dumps(MESSAGES))
    parts = row["messages"][1]["content"]
    parts[0][key], parts[2][key] = row.pop("images")
    parts[1] |= {"image": None, "url": None}
    assert _read(root, row) == _read(root, MESSAGES)


def test_the_image_root_may_be_relative(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = _write(root, json.dumps(MESSAGES))
    monkeypatch.chdir(root)
    (sample,) = read(file, Path())
    assert sample.images[0] == root / "images/1.png"


def _changed(row: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {**row, **changes}


def _held(**part: Any) -> dict[str, Any]:
    """A row whose one image part holds something."""
    shown = {"role": "user", "content": [{"type": "image", **part}]}
    return {"messages": [shown, {"role": "assistant", "content": "noise"}]}


TURN = {"role": "user", "content": "Hm?"}
FAULTS: list[tuple[Any, str]] = [
    ("a string", "a row is 'a string'; expected an object"),
    ({"id": "a", "text": "hm"}, "the keys id, text name no layout"),
    (_changed(MESSAGES, messages={}), "messages is {}; expected a list"),
    (_changed(MESSAGES, messages=["hm"]), "a message is 'hm'; expected an object"),
    (_changed(MESSAGES, messages=[{"role": "bot"}]), "role 'bot'; expected one of system"),
    (_changed(MESSAGES, messages=[{"role": "user", "content": 3}]), "content is 3; expected"),
    (
        _changed(MESSAGES, messages=[{"role": "user", "content": [{"type": "sound"}]}]),
        "the type 'sound'; expected image or text",
    ),
    (
        _changed(MESSAGES, messages=[{"role": "user", "content": [{"type": "text"}]}]),
        "the text of a content part is None; expected a string",
    ),
    (_changed(MESSAGES, messages=[TURN], images=[]), "no assistant turn"),
    (_changed(MESSAGES, images=["images/1.png"]), "2 image marks for 1 images"),
    (_changed(MESSAGES, images=[None, "images/1.png"]), "an image is None; expected a string"),
    (_changed(MESSAGES, images=["images/3.png", "images/1.png"]), "'images/3.png' is not in"),
    (_changed(MESSAGES, images=["images", "images/1.png"]), "'images' is not in"),
    (_changed(MESSAGES, images=["../x.png", "images/1.png"]), "'../x.png' leaves the image root"),
    (_changed(MESSAGES, images=["/etc/passwd", "images/1.png"]), "leaves the image root"),
    (_changed(MESSAGES, meta=[1]), "meta is .*; expected an object"),
    (_held(image="../x.png"), "'../x.png' leaves the image root"),
    (_held(image="https://a.org/x.png"), "'https://a.org/x.png' is not in the image root"),
    (_held(image={"bytes": "AA"}), "an image is {.*}; expected a string"),
    (_held(url="https://a.org/x.png"), "an image part holds a url, 'https://a.org/x.png'"),
    (_held(base64="AA"), "an image part holds a base64"),
    (_held(image="images/1.png", path="images/2.png"), "1 image marks for 2 images"),
    ({**_held(path="images/1.png"), "image": "images/1.png"}, "name all of them in one place"),
    (_changed(LLAVA, conversations="hm"), "conversations is 'hm'; expected a list"),
    (_changed(LLAVA, conversations=[{"from": "cat"}]), "from 'cat'; expected one of"),
    (_changed(LLAVA, conversations=[{"from": ["gpt"]}]), r"from is \['gpt'\]; expected a string"),
    (_changed(LLAVA, id="half of a pair: \ud800"), "not text"),
    (_changed(LLAVA, conversations=[{"from": "gpt"}]), "value is None; expected a string"),
    (_changed(LLAVA, image=None), "2 image marks for 0 images"),
]


@pytest.mark.parametrize(("row", "reason"), FAULTS)
def test_a_faulty_row_is_named(root: Path, row: Any, reason: str) -> None:
    file = _write(root, f"{json.dumps(MESSAGES)}\n{json.dumps(row)}\n")
    samples = read(file, root)
    assert next(samples).id == "a"
    with pytest.raises(ValueError, match=f"{file}, row 2: .*{reason}"):
        next(samples)


def test_faulty_files_are_named(root: Path) -> None:
    with pytest.raises(ValueError, match=r"row 2: not JSON"):
        list(read(_write(root, f"{json.dumps(MESSAGES)}\n{{\n"), root))
    for broken in ("[{]", "[" * 100_000 + "]" * 100_000):
        with pytest.raises(ValueError, match=r"data\.json is not JSON"):
            list(read(_write(root, broken), root))
    file = root / "data.json"
    file.write_text(json.dumps([MESSAGES]), encoding="utf-16")
    with pytest.raises(ValueError, match="UTF-16; save it as UTF-8"):
        list(read(file, root))
    for empty in ("", "[]", "\n \n"):
        with pytest.raises(ValueError, match="holds no row"):
            list(read(_write(root, empty), root))
    with pytest.raises(ValueError, match="does not exist"):
        list(read(root / "absent.jsonl", root))


@pytest.mark.parametrize("text", [json.dumps([MESSAGES]), json.dumps(MESSAGES) + "\n"])
def test_a_byte_order_mark_is_no_part_of_the_text(root: Path, text: str) -> None:
    plain = list(read(_write(root, text), root))
    file = root / "data.json"
    file.write_text(text, encoding="utf-8-sig")
    assert list(read(file, root)) == plain


def test_a_link_may_lead_to_an_image_inside_the_root_and_nowhere_else(root: Path) -> None:
    inner = root / "inner"
    inner.mkdir()
    (inner / "out.png").symlink_to(root / "images/1.png")
    (inner / "folder").symlink_to(root / "images")
    row = {**LLAVA, "image": ["out.png", "folder/2.png"]}
    file = _write(root, json.dumps(row))
    with pytest.raises(ValueError, match=r"'out.png' leaves the image root .*--image-root"):
        list(read(file, inner))
    inside = {**LLAVA, "image": ["inner/out.png", "inner/folder/2.png"]}
    (sample,) = read(_write(root, json.dumps(inside)), root)
    assert sample.images == (root / "images/1.png", root / "images/2.png")
    (root / "elsewhere").symlink_to(root)
    (same,) = read(file.with_name("data.json"), root / "elsewhere")
    assert same.images == sample.images
