"""An image is the same wherever it lies, and what is around it cannot do harm."""

import gzip
import io
import tarfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pyarrow import parquet

from isthmus.data import archive, images, media, row_groups, table
from isthmus.data.check import check
from isthmus.data.faults import Fault
from isthmus.data.images import as_seen, check_image, opened, upright_size
from isthmus.data.sources import entries
from isthmus.data.sources.base import image_paths
from tests.tiny_containers import PICTURE, png, write_table, write_tar

INSIDE = (
    *("a.tar/deep/1.png", "one.parquet/1/image", "many.parquet/0/images/1", "raw.parquet/1/image"),
    *("one.arrow/1/image", "many-stream.arrow/0/images/1", "blob"),
)
"""Where the same picture lies; `blob` is a tar file without a name that tells so."""
NUMBERS = count()


@pytest.fixture(autouse=True, scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ISTHMUS_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield tmp_path_factory.mktemp("noise")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the picture of seed 1 in every kind of file, always behind that of seed 0."""
    folder = tmp_path_factory.mktemp("root")
    (folder / "1.png").write_bytes(png(1))
    for name in ("a.tar", "blob"):
        write_tar(folder / name, {"0.png": png(0), "./deep/1.png": png(1), "empty.png": b""})
    cells = [{"bytes": png(0), "path": "0.png"}, {"bytes": png(1), "path": None}, None]
    one = [{"image": cell, "text": "a"} for cell in cells]
    many = [{"images": [None, cells[1]]}, {"images": [cells[0]]}, {"images": None}]
    write_table(folder / "one.parquet", one)
    write_table(folder / "one.arrow", one)
    schema = pa.schema([("images", pa.list_(PICTURE))])
    write_table(folder / "many.parquet", many, schema)
    write_table(folder / "many-stream.arrow", many, schema)
    write_table(folder / "raw.parquet", [{"image": b""}, {"image": png(1)}])
    return folder


def inside(root: Path, name: str) -> Path:
    return root / ("blob/deep/1.png" if name == "blob" else name)


@pytest.mark.parametrize("name", INSIDE)
def test_a_picture_is_the_same_wherever_it_lies(root: Path, name: str) -> None:
    path = inside(root, name)
    assert media.exists(path)
    assert media.content_of(path) == media.content_of(root / "1.png") == png(1)
    assert upright_size(path) == (12, 8)
    check_image(path)
    with opened(path, "a") as found, opened(root / "1.png", "b") as alone:
        assert np.array_equal(np.asarray(as_seen(found)), np.asarray(as_seen(alone)))
    assert image_paths(str(path.relative_to(root)), root) == (path,)


@pytest.mark.parametrize(
    "name",
    [
        *("2.png", "1.png/x", "a.tar/1.png", "a.tar/deep", "a.tar/deep/1.png/x", "none.tar/1.png"),
        *("one.parquet/3/image", "one.parquet/2/image", "one.parquet/1/text", "one.parquet/1"),
        *("one.parquet/-1/image", "one.parquet/1/image/0", "one.parquet/1/image/x"),
        *("one.parquet/1/none", f"one.parquet/{'9' * 5000}/image", "one.parquet/1/image/0/0"),
        *("many.parquet/0/images", "many.parquet/0/images/0", "many.parquet/0/images/2"),
        *("many.parquet/2/images/0", "many-stream.arrow/2/images/0", "one.arrow/2/image"),
    ],
)
def test_what_is_not_there_is_missing(root: Path, name: str) -> None:
    with pytest.raises(Fault) as caught:
        media.content_of(root / name)
    assert caught.value.reason == "image_missing"


def test_what_is_seen_not_to_be_there_does_not_exist(root: Path) -> None:
    for name in ("a.tar/1.png", "one.parquet/3/image", "one.parquet/1/text", "1.png/x"):
        assert not media.exists(root / name)
        with pytest.raises(Fault, match=r"is not in the image root") as caught:
            image_paths(name, root)
        assert caught.value.reason == "image_missing"


def test_a_container_may_be_the_root_and_is_not_left(root: Path) -> None:
    assert image_paths("deep/1.png", root / "a.tar") == (root / "a.tar/deep/1.png",)
    for name in ("../1.png", "deep/../../1.png", str(root / "1.png")):
        with pytest.raises(Fault) as caught:
            image_paths(name, root / "a.tar")
        assert caught.value.reason == "outside_image_root"


def test_a_real_file_wins(tmp_path: Path) -> None:
    (tmp_path / "x.tar").mkdir()
    (tmp_path / "x.tar/1.png").write_bytes(png(2))
    assert media.content_of(tmp_path / "x.tar/1.png") == png(2)
    assert media.opened(tmp_path / "x.tar/1.png") == tmp_path / "x.tar/1.png"
    assert not media.exists(tmp_path / "x.tar/2.png")


def test_only_plain_files_that_stay_inside_are_members(tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(png(3))
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for name in ("../secret.png", "/etc/secret.png", "in/../../secret.png"):
            info = tarfile.TarInfo(name)
            info.size = len(png(0))
            tar.addfile(info, io.BytesIO(png(0)))
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.DIRTYPE):
            info = tarfile.TarInfo(f"link{kind!r}.png")
            info.type, info.linkname = kind, str(tmp_path / "secret.png")
            tar.addfile(info)
    assert archive.samples(tmp_path / "a.tar").shape == (0, 2)
    for name in ("link.png", "../secret.png", "etc/secret.png", "secret.png", "/etc/secret.png"):
        assert archive.find(tmp_path / "a.tar", name) is None
    assert archive.find(tmp_path / "a.tar", f"link{tarfile.SYMTYPE!r}.png") is None


def test_an_archive_outside_the_root_is_not_opened(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    write_tar(tmp_path / "out.tar", {"1.png": png()})
    (tmp_path / "root/a.tar").symlink_to(tmp_path / "out.tar")
    for name in ("a.tar/1.png", "../out.tar/1.png", str(tmp_path / "out.tar/1.png")):
        with pytest.raises(Fault) as caught:
            image_paths(name, tmp_path / "root")
        assert caught.value.reason == "outside_image_root"


def test_of_two_members_of_a_name_the_last_is_meant(tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar", [("1.png", png(1)), ("2.png", png(0)), ("1.png", png(2))])
    assert media.content_of(tmp_path / "a.tar/1.png") == png(2)


def test_a_torn_archive_gives_what_lies_before_the_tear(tmp_path: Path) -> None:
    whole = write_tar(tmp_path / "a.tar", {f"{n}.png": png(n) for n in range(3)}).read_bytes()
    block = 512 + len(png(0)) + -len(png(0)) % 512
    for name, keep, there in (
        ("header", block + 100, 1),
        ("content", 2 * block + 512 + 20, 2),
        ("mark", 3 * block, 3),
    ):
        torn = tmp_path / f"{name}.tar"
        torn.write_bytes(whole[:keep])
        for number in range(there):
            assert media.content_of(torn / f"{number}.png") == png(number)
        with pytest.raises(Fault) as caught:
            media.content_of(torn / f"{there}.png")
        expected = "archive_damaged" if name == "content" else "image_missing"
        assert caught.value.reason == expected


@pytest.mark.parametrize("mode", ["gz", "bz2", "xz"])
def test_a_compressed_archive_says_how_to_unpack_it(root: Path, tmp_path: Path, mode: str) -> None:
    with tarfile.open(tmp_path / "a.tar", f"w:{mode}") as tar:  # type: ignore[call-overload]
        tar.add(root / "1.png", "1.png")
    with pytest.raises(Fault, match=r"is compressed.*unpack it with (gunzip|bunzip2|unxz)"):
        image_paths("a.tar/1.png", tmp_path)


def test_no_member_is_read_that_is_too_large(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media, "MAX_BYTES", len(png(1)) - 1)
    monkeypatch.setattr(archive, "read", lambda *_: pytest.fail("read in spite of its size"))
    for name in INSIDE:
        with pytest.raises(Fault) as caught:
            check_image(inside(root, name))
        assert caught.value.reason == "image_too_large"
    check_image(root / "1.png")


def test_no_group_is_unpacked_that_is_too_large(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_table(tmp_path / "a.parquet", [{"image": png(1)}])
    monkeypatch.setattr(row_groups, "MAX_GROUP_BYTES", 10)
    with pytest.raises(Fault, match=r"in smaller groups") as caught:
        media.content_of(path / "0/image")
    assert caught.value.reason == "image_too_large"


@pytest.mark.parametrize("name", ["1.png", *INSIDE])
@pytest.mark.parametrize("look", [check_image, upright_size])
def test_a_picture_of_too_many_pixels_is_refused_whatever_other_libraries_set(
    root: Path, name: str, look: Callable[[Path], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    path = inside(root, name)
    monkeypatch.setattr(images, "MAX_PIXELS", 12 * 8)
    look(path)
    monkeypatch.setattr(images, "MAX_PIXELS", 12 * 8 - 1)
    with pytest.raises(Fault, match="12 x 8 pixels") as caught:
        look(path)
    assert caught.value.reason == "image_too_large"
    assert str(path) in str(caught.value)


def test_what_has_no_bytes_is_empty(root: Path, tmp_path: Path) -> None:
    (tmp_path / "1.png").write_bytes(b"")
    for path in (tmp_path / "1.png", root / "a.tar/empty.png", root / "raw.parquet/0/image"):
        with pytest.raises(Fault) as caught:
            check_image(path)
        assert caught.value.reason == "image_empty"


def test_an_index_is_made_once_and_again_when_the_archive_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Path] = []
    make = archive._made
    monkeypatch.setattr(archive, "_made", lambda path, size: made.append(path) or make(path, size))
    path = write_tar(tmp_path / "a.tar", {"1.png": png(1)})
    for _ in range(3):
        assert media.content_of(path / "1.png") == png(1)
        archive._index.cache_clear()  # as another process starts
    assert len(made) == 1
    write_tar(path, {"0.png": b"longer than before" * 99, "1.png": png(2)})
    assert media.content_of(path / "1.png") == png(2)
    assert len(made) == 2


def test_without_a_place_to_keep_it_the_index_is_used_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("ISTHMUS_CACHE", str(tmp_path / "file"))
    path = write_tar(tmp_path / "a.tar", {"1.png": png(1)})
    assert media.content_of(path / "1.png") == png(1)


def test_a_stamp_tells_images_apart(root: Path, tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tar", {"1.png": png(1), "2.png": b"other"})
    before = media.stat_of(path / "1.png")
    assert before == (len(png(1)), path.stat().st_mtime_ns)
    assert before != media.stat_of(path / "2.png")
    write_tar(path, {"1.png": png(1) + b"more"})
    assert before != media.stat_of(path / "1.png")
    stat = (root / "one.parquet").stat()
    assert media.stat_of(root / "one.parquet/0/image") == (stat.st_size, stat.st_mtime_ns)
    for name in ("none.png", "a.tar/none.png", "none.tar/1.png"):
        with pytest.raises(Fault, match="there is no image"):
            media.stat_of(root / name)


def test_many_threads_may_read_at_once(tmp_path: Path) -> None:
    contents = {f"{n}.bin": bytes([n]) * (1 + 997 * n % 4000) for n in range(40)}
    tar = write_tar(tmp_path / "a.tar", contents)
    rows = [{"image": content} for content in contents.values()]
    sheet = write_table(tmp_path / "a.parquet", rows)
    paths = [tar / name for name in contents] + [sheet / f"{n}/image" for n in range(40)]
    archive._index.cache_clear()
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(media.content_of, paths * 3))
    assert found == [*contents.values()] * 6


def test_words_are_read_without_the_bytes_of_pictures(tmp_path: Path) -> None:
    rows = [{"image": {"bytes": png(n), "path": f"{n}.png"}, "text": str(n)} for n in range(2)]
    path = tmp_path / "a.parquet"
    parquet.write_table(pa.Table.from_pylist(rows), path, compression="none", use_dictionary=False)
    told = parquet.read_metadata(path).row_group(0).column(0)
    assert told.path_in_schema == "image.bytes"
    content = bytearray(path.read_bytes())
    end = told.data_page_offset + told.total_compressed_size
    content[told.data_page_offset : end] = b"\xff" * told.total_compressed_size
    path.write_bytes(content)
    assert table.row(path, 1) == ({"image": "1/image", "text": "1"}, True)
    with pytest.raises(Fault) as caught:
        media.content_of(path / "1/image")
    assert caught.value.reason == "archive_damaged"


def test_a_row_of_a_file_may_show_what_lies_in_an_archive(root: Path, tmp_path: Path) -> None:
    for name in ("a.tar", "one.parquet", "1.png"):
        (tmp_path / name).write_bytes((root / name).read_bytes())
    names = ("a.tar/deep/1.png", "one.parquet/1/image", "1.png", "a.tar/none.png")
    lines = (f'{{"image": "{name}", "caption": "a"}}\n' for name in names)
    (tmp_path / "rows.jsonl").write_text("".join(lines))
    found = check(tmp_path / "rows.jsonl", tmp_path).census
    assert (found.seen, found.usable, found.quarantined) == (4, 3, {"image_missing": 1})
    assert found.duplicates.images == 2
    last = list(entries(tmp_path / "rows.jsonl", tmp_path))[-1].content
    assert isinstance(last, Fault)
    assert "is not in the image root" in str(last)


def test_without_pyarrow_a_table_says_what_to_install(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install 'isthmus\[hub\]'"):
        media.content_of(root / "one.parquet/1/image")
    assert media.content_of(root / "a.tar/deep/1.png") == png(1)


@settings(max_examples=40, deadline=None)
@given(
    members=st.dictionaries(
        st.text("aé./", min_size=1, max_size=120).map(lambda name: f"{name}x"),
        st.binary(max_size=1200),
        max_size=6,
    )
)
def test_what_is_packed_comes_out(cache: Path, members: dict[str, bytes]) -> None:
    path = write_tar(cache / f"{next(NUMBERS)}.tar", members)
    for name, content in members.items():
        folders = Path(name).parts
        others = [other for other in members if Path(other).parts == folders]
        is_inside = not name.startswith("/") and ".." not in folders
        if is_inside and content and len(others) == 1:
            assert media.content_of(path / name) == content


def look_around(path: Path) -> None:
    """Asks for everything that could be in a file; faults are all that may be raised."""
    for name in ("0.png", "deep/1.png", "0/image", "1/images/0", "9/image"):
        for ask in (media.exists, media.stat_of, media.content_of, check_image):
            try:
                ask(path / name)
            except Fault:
                continue


STARTS = st.sampled_from([b"", b"PAR1", b"ARROW1\0\0", b"\xff\xff\xff\xff", gzip.compress(b"")])


@settings(max_examples=40, deadline=None)
@given(start=STARTS, content=st.binary(max_size=1500), end=st.sampled_from([b"", b"PAR1"]))
def test_any_bytes(cache: Path, start: bytes, content: bytes, end: bytes) -> None:
    path = cache / f"{next(NUMBERS)}.bin"
    path.write_bytes(start + content + end)
    look_around(path)


@settings(max_examples=40, deadline=None)
@given(
    name=st.sampled_from(("a.tar", "one.parquet", "many-stream.arrow", "one.arrow")),
    share=st.floats(0, 1),
)
def test_any_truncation(cache: Path, root: Path, name: str, share: float) -> None:
    path = cache / f"{next(NUMBERS)}-{name}"
    content = (root / name).read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    look_around(path)
    if name != "a.tar":
        return
    for member, whole in (("0.png", png(0)), ("deep/1.png", png(1))):
        found = archive.find(path, member)
        if found is not None and found.offset + found.size <= len(path.read_bytes()):
            assert media.content_of(path / member) == whole
