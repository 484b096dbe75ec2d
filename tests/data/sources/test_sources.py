"""Data files of both layouts become the same samples; each faulty row is one clear error."""

import json
from pathlib import Path
from typing import Any

import pytest

from isthmus.data.faults import Fault
from isthmus.data.sample import ImagePart, Message, Sample, Text
from isthmus.data.sources import entries, read
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
        _changed(MESSAGES, messages=[{**TURN, "style": 3}]),
        "the style of a message is 3; expected a string",
    ),
    (
        _changed(
            MESSAGES, messages=[TURN, {"role": "assistant", "content": "red", "style": "chat"}]
        ),
        "a message of the assistant has the style 'chat'; expected one where the user asks",
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


@pytest.mark.parametrize("key", ["conversations", "conversatons", "items"])
@pytest.mark.parametrize(("speaker", "words"), [("from", "value"), ("role", "content")])
def test_the_dialects_of_shared_conversations(
    root: Path, key: str, speaker: str, words: str
) -> None:
    told = {"human": "USER", "gpt": "ChatGPT", "system": "system"}
    turns = [{speaker: told[turn["from"]], words: turn["value"]} for turn in LLAVA["conversations"]]
    row = {name: value for name, value in LLAVA.items() if name != "conversations"}
    assert _read(root, {**row, key: turns}) == _read(root, LLAVA)


def test_texts_beside_images(root: Path) -> None:
    row = {
        "images": ["images/1.png", "images/2.png"],
        "texts": [
            {"user": "How many?", "assistant": "Two."},
            {"user": "Sure?", "assistant": "Yes."},
        ],
        "source": "toy",
        "relevance_ratings": [5, None],
    }
    (sample,) = _read(root, row)
    assert sample.task == "toy"
    assert sample.messages[0].parts == (ImagePart(), ImagePart(), Text("How many?"))
    assert [message.text for message in sample.messages] == ["How many?", "Two.", "Sure?", "Yes."]
    assert sample.meta == {"relevance_ratings": [5, None]}
    (alone,) = _read(root, [{**row, "images": None}])
    assert alone.images == ()
    (bad,) = entries(_write(root, json.dumps([{**row, "texts": [{"user": "Hm?"}]}])), root)
    assert isinstance(bad.content, Fault)


def test_captions_of_an_image(root: Path) -> None:
    row = {"id": 7, "image": "images/1.png", "caption": "a red star"}
    (sample,) = _read(root, row)
    assert (sample.id, sample.task) == ("7", "caption")
    assert sample.messages == (
        Message("user", (ImagePart(),)),
        Message("assistant", (Text("a red star"),)),
    )
    (several,) = _read(root, [{**row, "caption": ["a red star", "a star"]}])
    assert [m.text for m in several.messages if m.role == "assistant"] == ["a red star", "a star"]
    assert several.images == sample.images


COCO = {
    "info": {"year": 2014},
    "images": [
        {"id": 9, "file_name": "images/1.png", "height": 24},
        {"id": 4, "file_name": "images/2.png"},
    ],
    "annotations": [
        {"id": 1, "image_id": 4, "caption": "A ring."},
        {"id": 2, "image_id": 9, "caption": "A star."},
        {"id": 3, "image_id": 4, "caption": "A blue ring."},
    ],
}


@pytest.mark.parametrize("indent", [None, 1])
def test_captions_of_coco_are_joined_with_their_images(root: Path, indent: int | None) -> None:
    samples = list(read(_write(root, json.dumps(COCO, indent=indent)), root))
    assert [sample.id for sample in samples] == ["1", "2", "3"]
    assert [sample.images[0].name for sample in samples] == ["2.png", "1.png", "2.png"]
    assert [sample.messages[-1].text for sample in samples] == [
        "A ring.",
        "A star.",
        "A blue ring.",
    ]


@pytest.mark.parametrize(
    ("annotation", "reason"),
    [
        ({"id": 1, "image_id": 5, "caption": "A ring."}, "image is None; expected a string"),
        ({"id": 1, "image_id": 4, "bbox": [1, 2, 3, 4]}, "the keys id, image_id, bbox name no"),
        ("a ring", "a row is 'a ring'; expected an object"),
        ({"id": 1, "image_id": 4, "caption": 3}, "caption is 3; expected a list"),
        ({"id": 1, "image_id": 4, "caption": " "}, "an assistant turn is empty"),
    ],
)
def test_what_is_no_caption_of_coco_is_one_faulty_row(
    root: Path, annotation: Any, reason: str
) -> None:
    given = {**COCO, "annotations": [COCO["annotations"][0], annotation]}
    first, second = entries(_write(root, json.dumps(given)), root)
    assert isinstance(first.content, Sample)
    assert isinstance(second.content, Fault)
    assert reason in str(second.content)
    assert second.row == 2


def test_lists_of_another_type_are_no_document_of_coco(root: Path) -> None:
    with pytest.raises(ValueError, match="images is 3; expected a list"):
        list(read(_write(root, json.dumps({**COCO, "images": 3})), root))
