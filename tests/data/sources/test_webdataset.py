"""Shards become the samples of their members; what is missing, torn or refused is counted."""

import json
from collections import Counter
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.data import archive, media
from isthmus.data.facts import Captioned, Item
from isthmus.data.faults import Fault, Filtered
from isthmus.data.images import check_image
from isthmus.data.sample import Sample
from isthmus.data.sources._named import load_reader
from isthmus.data.sources.webdataset import READER
from tests.tiny_containers import png, write_tar

NUMBERS = count()
HUMAN = [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "A cup."}]
USER = [
    {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What?"}]},
    {"role": "assistant", "content": "A cup."},
]


@pytest.fixture(autouse=True, scope="module")
def noise(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ISTHMUS_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield tmp_path_factory.mktemp("noise")


def contents(file: Path) -> list[Sample | Fault | Filtered]:
    reader, found = READER(), []
    for number, row in enumerate(reader.rows({"file": file})):
        try:
            content: Any = reader.content(row, name=f"row-{number}", image_root=file.parent)
        except (Fault, Filtered) as why:
            content = why
        found.append(content)
    return found


def told(file: Path) -> list[Any]:
    """Answers of samples, and reasons of the others."""
    return [
        [m.text for m in c.messages if m.role == "assistant"] if isinstance(c, Sample) else c.reason
        for c in contents(file)
    ]


def as_json(**values: Any) -> bytes:
    return json.dumps(values).encode()


def test_captions_are_facts_if_asked(tmp_path: Path) -> None:
    files = {"1.jpg": png(1), "1.txt": b"a cat", "2.jpg": png(2), "2.json": as_json(caption=[])}
    write_tar(tmp_path / "a.tar", files)
    reader = READER(captions="facts")
    row, empty = reader.rows({"file": tmp_path / "a.tar"})
    item = reader.content(row, name="row", image_root=tmp_path)
    assert isinstance(item, Item)
    assert item.facts == (Captioned(text="a cat"),)
    assert item.images == (tmp_path / "a.tar/1.jpg",)
    assert check_image(item.images[0]) is None
    with pytest.raises(Fault):
        reader.content(empty, name="row", image_root=tmp_path)


def test_the_reader_is_known_by_its_name() -> None:
    assert isinstance(load_reader("webdataset"), READER)


def test_pairs_as_img2dataset_writes_them(tmp_path: Path) -> None:
    about = {"url": "u", "key": "000000001", "status": "success", "exif": "{}", "width": 12}
    members = {
        "000000000.jpg": png(0),
        "000000000.txt": "a déjà-vu".encode(),
        "000000001.jpg": png(1),
        "000000001.json": as_json(caption="a cat", **about),
        "000000001.txt": b"another cat",
        "000000002.webp": png(2),
        "000000002.json": as_json(caption=["one", "two"]),
        "000000003.json": as_json(caption=None),
        "000000003.PNG": png(3),
        "000000003.txt": b"from the text",
    }
    file = write_tar(tmp_path / "00000.tar", members)
    assert told(file) == [["a déjà-vu"], ["a cat"], ["one", "two"], ["from the text"]]
    for number, sample in enumerate(contents(file)):
        assert isinstance(sample, Sample)
        assert (sample.id, sample.task) == (f"00000000{number}", "caption")
        (image,) = sample.images
        assert image.parent == file
        assert media.content_of(image) == png(number)


@pytest.mark.parametrize(
    "row",
    [
        {"conversations": HUMAN},
        {"messages": USER, "images": ["of another disk.jpg"]},
        {"texts": [{"user": "What?", "assistant": "A cup."}]},
        {"conversations": HUMAN, "image": "of another disk.jpg", "caption": None},
    ],
)
def test_a_json_of_a_known_layout_is_read_as_a_row(tmp_path: Path, row: dict[str, Any]) -> None:
    members = {"a/1.json": as_json(**row), "a/1.jpg": png(1)}
    (sample,) = contents(write_tar(tmp_path / "a.tar", members))
    assert isinstance(sample, Sample)
    assert [message.text for message in sample.messages] == ["What?", "A cup."]
    assert sample.images == (tmp_path / "a.tar/a/1.jpg",)
    assert sample.id == "a/1"


def test_a_sample_may_have_several_images_or_none(tmp_path: Path) -> None:
    marks = [{"from": "human", "value": "<image><image>Same?"}, {"from": "gpt", "value": "No."}]
    members = {
        "1.0.jpg": png(0),
        "1.1.jpg": png(1),
        "1.json": as_json(conversations=marks, id="own"),
        "2.json": as_json(conversations=[{**HUMAN[0], "value": "What?"}, HUMAN[1]]),
    }
    two, none = contents(write_tar(tmp_path / "a.tar", members))
    assert isinstance(two, Sample)
    assert isinstance(none, Sample)
    assert [image.name for image in two.images] == ["1.0.jpg", "1.1.jpg"]
    assert (two.id, none.images) == ("own", ())


def test_whatever_is_missing_or_refused_is_counted(tmp_path: Path) -> None:
    cases: list[tuple[dict[str, bytes], str]] = [
        ({"jpg": png()}, "no_answer"),
        ({"jpg": png(), "json": as_json(url="u")}, "no_answer"),
        ({"txt": b"words"}, "image_missing"),
        ({"json": as_json(caption="words")}, "image_missing"),
        ({"json": as_json(conversations=HUMAN, image="x.jpg")}, "image_missing"),
        ({"json": as_json(conversations=HUMAN)}, "image_marks"),
        ({"jpg": png(), "json": b"{"}, "broken_json"),
        ({"jpg": png(), "json": b"[1]"}, "wrong_layout"),
        ({"jpg": png(), "txt": b"\xff\xfe"}, "broken_json"),
        ({"jpg": png(), "txt": b" "}, "empty_answer"),
        ({"jpg": png(), "png": png(), "txt": b"words"}, "wrong_layout"),
        ({"jpg": png(), "json": as_json(status="failed_to_download")}, "status"),
        ({"json": as_json(status="failed_to_resize", caption="words")}, "status"),
    ]
    members = {
        f"{number}.{ending}": content
        for number, (files, _) in enumerate(cases)
        for ending, content in files.items()
    }
    found = told(write_tar(tmp_path / "a.tar", members))
    assert found == [reason for _, reason in cases]
    kinds = Counter(type(content) for content in contents(tmp_path / "a.tar"))
    assert kinds == {Fault: len(cases) - 2, Filtered: 2}


def test_a_text_that_is_too_long_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_tar(tmp_path / "a.tar", {"1.jpg": png(), "1.txt": b"word " * 9})
    monkeypatch.setattr("isthmus.data.sources.webdataset.MAX_TEXT_BYTES", 44)
    monkeypatch.setattr(archive, "read", lambda *_: pytest.fail("read in spite of its size"))
    assert told(file) == ["too_long"]


def test_files_beside_the_samples_are_no_rows(tmp_path: Path) -> None:
    members = {
        **dict.fromkeys(("README", ".nv-meta/index.txt", "__meta__.json", "._1.jpg"), b"x"),
        "1.jpg": png(),
        "._1.txt": b"x",
        "1.txt": b"words",
    }
    assert told(write_tar(tmp_path / "a.tar", members)) == [["words"]]


def test_members_of_one_name_at_two_places_are_no_samples_of_the_same_image(tmp_path: Path) -> None:
    pairs = [("1.jpg", png(0)), ("1.txt", b"one"), ("2.jpg", png(1)), ("2.txt", b"two")]
    file = write_tar(tmp_path / "a.tar", [*pairs, ("1.jpg", png(2)), ("1.txt", b"three")])
    assert told(file) == ["wrong_layout", ["two"], ["three"]]


def test_shards_follow_one_another(tmp_path: Path) -> None:
    for shard in range(3):
        numbers = range(2 * shard, 2 * shard + 2)
        members = {f"{n}.jpg": png(n) for n in numbers} | {f"{n}.txt": b"%d" % n for n in numbers}
        write_tar(tmp_path / f"0000{shard}.tar", dict(sorted(members.items())))
    (tmp_path / "00000_stats.json").write_text("{}")
    everything = [["0"], ["1"], ["2"], ["3"], ["4"], ["5"]]
    for pattern in ("{00000..00002}.tar", "*.tar", "."):
        assert told(tmp_path / pattern) == everything
    assert told(tmp_path / "0000{2,0}.tar") == [everything[n] for n in (4, 5, 0, 1)]
    rows = READER().rows({"file": tmp_path})
    assert (len(rows), rows[-1]) == (6, rows[5])
    assert rows[1:3] == [rows[1], rows[2]]
    with pytest.raises(IndexError):
        rows[6]


def test_no_content_is_read_before_it_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    members = {f"{n}.{ending}": b"x" * 99 for n in range(50) for ending in ("jpg", "txt")}
    file = write_tar(tmp_path / "a.tar", members)
    monkeypatch.setattr(archive, "read", lambda *_: pytest.fail("read too early"))
    rows = READER().rows({"file": file})
    assert len(rows) == 50
    assert not any(b"x" * 99 in repr(row).encode() for row in rows)


def test_a_broken_shard_among_others_is_one_fault(tmp_path: Path) -> None:
    write_tar(tmp_path / "1.tar", {"1.jpg": png(), "1.txt": b"words"})
    (tmp_path / "0.tar").write_bytes(b"<html>404</html>" * 100)
    (tmp_path / "2.tar").write_bytes(b"")
    assert told(tmp_path / "*.tar") == ["archive_damaged", ["words"], "archive_damaged"]
    (tmp_path / "1.tar").unlink()
    with pytest.raises(ValueError, match="is no tar file; expected shards"):
        contents(tmp_path / "*.tar")


def test_a_compressed_shard_is_refused_at_once(tmp_path: Path) -> None:
    write_tar(tmp_path / "0.tar", {"1.jpg": png(), "1.txt": b"words"})
    (tmp_path / "1.tar").write_bytes(b"\x1f\x8b" + b"x" * 600)
    with pytest.raises(ValueError, match=r"1\.tar is compressed.*gunzip"):
        contents(tmp_path)


@pytest.fixture(scope="module")
def shard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    members = {
        f"{n}.{ending}": content
        for n in range(4)
        for ending, content in (("json", as_json(caption=f"number {n}")), ("jpg", png(n)))
    }
    return write_tar(tmp_path_factory.mktemp("shard") / "a.tar", members)


@settings(max_examples=60, deadline=None)
@given(share=st.floats(0, 1))
def test_any_truncation_yields_what_lies_before_it(noise: Path, shard: Path, share: float) -> None:
    file = noise / f"{next(NUMBERS)}.tar"
    whole = shard.read_bytes()
    keep = int(share * len(whole))
    file.write_bytes(whole[:keep])
    try:
        found = contents(file)
    except ValueError:
        assert keep < 512
        return
    samples = [content for content in found if isinstance(content, Sample)]
    assert samples == found[: len(samples)]
    for number, sample in enumerate(samples):
        assert sample.messages[1].text == f"number {number}"
        assert media.content_of(sample.images[0]) == png(number)
    # Whatever is lost shows, and so does the missing mark of a file that is cut behind the last.
    last = archive.members(shard, *map(int, archive.samples(shard)[-1]))[-1]
    end = last.offset + last.size + -last.size % 512
    assert keep >= end + 512 or isinstance(found[-1], Fault)
    assert keep < end + 512 or found == samples


@settings(max_examples=40, deadline=None)
@given(start=st.sampled_from([0, 512, 1536]), content=st.binary(max_size=1500))
def test_any_bytes(noise: Path, shard: Path, start: int, content: bytes) -> None:
    file = noise / f"{next(NUMBERS)}.tar"
    file.write_bytes(shard.read_bytes()[:start] + content)
    try:
        found = contents(file)
    except ValueError:
        return
    for each in found:
        for image in each.images if isinstance(each, Sample) else ():
            try:
                check_image(image)
            except Fault:
                continue
