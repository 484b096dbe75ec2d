"""Tables become the samples of their rows, with the pictures they hold or name."""

from collections import Counter
from datetime import date
from decimal import Decimal
from hashlib import sha256
from io import FileIO
from itertools import count
from pathlib import Path
from shutil import copytree
from types import SimpleNamespace
from typing import Any, ClassVar

import datasets
import pyarrow as pa
import pytest
from datasets import Dataset, Features, List, Value
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.data import media
from isthmus.data.faults import Fault
from isthmus.data.images import check_image
from isthmus.data.rows import LazyRows
from isthmus.data.sample import Sample
from isthmus.data.sources import content_of_row
from isthmus.data.sources._named import load_reader
from isthmus.data.sources.hf_table import READER
from tests.tiny_containers import PICTURE, png, write_table

NUMBERS = count()
FORMS = ("a.parquet", "a.arrow", "a-stream.arrow")
TEXT = pa.struct([("user", pa.string()), ("assistant", pa.string())])
FINE_VISION = pa.schema(
    [
        ("images", pa.list_(PICTURE)),
        ("texts", pa.list_(TEXT)),
        ("source", pa.string()),
        ("relevance_ratings", pa.list_(pa.int64())),
    ]
)
TEXTS = [{"user": "How many?", "assistant": "Two."}]


@pytest.fixture(autouse=True, scope="module")
def noise(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("noise")


def contents(file: Path, image_root: Path | None = None, **options: Any) -> list[Sample | Fault]:
    reader = READER(**options)
    found: list[Sample | Fault] = []
    for number, row in enumerate(reader.rows({"file": file})):
        try:
            root = image_root or file.parent
            found.append(reader.content(row, name=f"row-{number}", image_root=root))
        except Fault as fault:
            found.append(fault)
    return found


def samples(file: Path, image_root: Path | None = None, **options: Any) -> list[Sample]:
    found = contents(file, image_root, **options)
    assert all(isinstance(each, Sample) for each in found), found
    return found  # type: ignore[return-value]


def picture(seed: int) -> dict[str, Any]:
    return {"bytes": png(seed), "path": f"{seed}.png"}


def test_the_reader_is_known_by_its_name() -> None:
    assert isinstance(load_reader("hf_table"), READER)


@pytest.mark.parametrize("name", FORMS)
def test_rows_of_fine_vision(tmp_path: Path, name: str) -> None:
    rows = [
        {"images": [picture(0), picture(1)], "texts": TEXTS, "source": "toy"},
        {"images": None, "texts": TEXTS, "relevance_ratings": [5, None]},
        {"images": [picture(2)], "texts": TEXTS * 2},
        {"images": [], "texts": TEXTS},
        {"images": [picture(3)], "texts": TEXTS},
    ]
    file = write_table(tmp_path / name, rows, FINE_VISION)
    found = samples(file)
    assert [[media.content_of(image) for image in sample.images] for sample in found] == [
        *([png(0), png(1)], [], [png(2)], [], [png(3)])
    ]
    assert [sample.id for sample in found] == [f"row-{number}" for number in range(5)]
    assert (found[0].task, found[1].task) == ("toy", "")
    assert found[1].meta == {"relevance_ratings": [5, None]}
    assert len(found[2].messages) == 4


@pytest.mark.parametrize("name", FORMS)
def test_a_single_picture_stands_for_a_list(tmp_path: Path, name: str) -> None:
    rows = [{"images": picture(0), "texts": TEXTS}, {"images": None, "texts": TEXTS}]
    one, none = samples(write_table(tmp_path / name, rows))
    assert media.content_of(one.images[0]) == png(0)
    assert none.images == ()


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("cell", [png(4), {"bytes": png(4)}, picture(4), "4.png", "path only"])
def test_a_picture_is_held_or_named(tmp_path: Path, name: str, cell: Any) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images/4.png").write_bytes(png(4))
    if cell == "path only":
        cell = {"bytes": None, "path": "4.png"}
    schema = pa.schema([("image", PICTURE), ("caption", pa.string())])
    is_struct = isinstance(cell, dict) and "path" in cell
    rows = [{"image": cell, "caption": "words"}]
    file = write_table(tmp_path / name, rows, schema if is_struct else None)
    (sample,) = samples(file, tmp_path / "images")
    assert media.content_of(sample.images[0]) == png(4)
    is_held = not isinstance(cell, str) and not (is_struct and cell["bytes"] is None)
    assert (sample.images[0] == file / "0/image") == is_held


def test_a_row_of_a_table_is_a_row_of_json(tmp_path: Path) -> None:
    """Arrow writes every key in every part; null is not there."""
    (tmp_path / "1.png").write_bytes(png(1))
    content = [
        [{"type": "image", "text": None, "url": None, "path": None}, {"type": "text", "text": "A?"}]
    ]
    answer = [{"type": "text", "text": "B."}]
    turns = [{"role": "user", "content": content[0]}, {"role": "assistant", "content": answer}]
    row = {"id": "a", "task": "count", "messages": turns, "images": ["1.png"]}
    others = {"conversations": None, "caption": None, "texts": None}
    schema_row = {"id": "b", "messages": None, "conversations": [{"from": "gpt", "value": "C."}]}
    file = write_table(tmp_path / "a.parquet", [{**row, **others}, schema_row])
    first, second = samples(file)
    assert first == content_of_row(row, name="x", image_root=tmp_path)
    assert (second.id, second.messages[0].text) == ("b", "C.")


def test_values_that_json_lacks(tmp_path: Path) -> None:
    meta = {"day": date(2020, 1, 2), "price": Decimal("1.50"), "nothing": None}
    row = {"conversations": [{"from": "gpt", "value": "C."}], "meta": meta, "sound": b"noise"}
    (sample,) = samples(write_table(tmp_path / "a.parquet", [row]))
    assert sample.meta == {"day": "2020-01-02", "price": "1.50"}
    bad = {**row, "meta": {"inner": b"bytes"}}
    (fault,) = contents(write_table(tmp_path / "b.parquet", [bad]))
    assert isinstance(fault, Fault)
    assert fault.reason == "wrong_layout"
    assert "bytes within its values" in str(fault)


def test_a_bad_row_is_a_fault_among_others(tmp_path: Path) -> None:
    (tmp_path / "beside.png").write_bytes(png(1))
    rows = [
        {"image": picture(0), "caption": "words"},
        {"image": None, "caption": "words"},
        {"image": {"bytes": None, "path": "none.png"}, "caption": "words"},
        {"image": picture(1), "caption": " "},
        {"image": picture(1), "caption": None},
        {"image": {"bytes": None, "path": "../up.png"}, "caption": "words"},
        {"image": {"bytes": None, "path": "beside.png"}, "caption": "words"},
    ]
    for name in FORMS:
        found = contents(write_table(tmp_path / name, rows))
        reasons = [each.reason if isinstance(each, Fault) else "" for each in found]
        assert reasons == [
            *("", "wrong_layout", "image_missing", "empty_answer", "wrong_layout"),
            *("outside_image_root", ""),
        ]
        assert isinstance(found[-1], Sample)
        assert found[-1].images == (tmp_path / "beside.png",)


def test_files_follow_one_another(tmp_path: Path) -> None:
    for part in range(3):
        rows = [{"caption": f"{part}-{n}", "image": picture(n)} for n in range(part + 1)]
        write_table(tmp_path / f"train-0000{part}-of-00003.parquet", rows)
    captions = ["0-0", "1-0", "1-1", "2-0", "2-1", "2-2"]
    for pattern in (".", "train-*.parquet", "train-{00000..00002}-of-00003.parquet"):
        assert [s.messages[1].text for s in samples(tmp_path / pattern)] == captions
    rows = READER().rows({"file": tmp_path})
    assert (len(rows), rows[-1], rows[1:3]) == (6, rows[5], [rows[1], rows[2]])
    with pytest.raises(IndexError):
        rows[6]


def test_a_folder_that_datasets_saved(tmp_path: Path) -> None:
    features = Features(
        {
            "images": List(datasets.Image()),
            "texts": List({"user": Value("string"), "assistant": Value("string")}),
        }
    )
    rows = {"images": [[picture(0)], None, [picture(1), picture(2)]], "texts": [TEXTS] * 3}
    datasets.disable_progress_bars()
    Dataset.from_dict(rows, features=features).save_to_disk(tmp_path / "saved")
    found = samples(tmp_path / "saved")
    held = [[media.content_of(image) for image in sample.images] for sample in found]
    assert held == [[png(0)], [], [png(1), png(2)]]


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that stands for a data set on the hub, which `datasets` loads in the same way."""
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.chdir(tmp_path)
    datasets.disable_progress_bars()
    (tmp_path / "owner/toy").mkdir(parents=True)
    for split, number in (("train", 5), ("test", 1)):
        rows = [{"caption": f"{split} {n}", "image": picture(n)} for n in range(number)]
        write_table(tmp_path / f"owner/toy/{split}-00000-of-00001.parquet", rows)
    return tmp_path


def test_a_split_of_the_hub_is_read_from_its_cache(hub: Path) -> None:
    for file in (Path("owner/toy"), hub / "owner/toy"):
        found = samples(file, hub, hub=True, split="train")
        assert [s.messages[1].text for s in found] == [f"train {n}" for n in range(5)]
        assert [media.content_of(s.images[0]) for s in found] == [png(n) for n in range(5)]
        assert found[0].images[0].is_relative_to(hub / "cache")


@pytest.mark.parametrize(
    ("name", "options", "why"),
    [
        ("owner/toy", {"split": "train[:2]"}, "has 2 rows, and its files 5; name a whole split"),
        ("owner/toy", {"split": "none"}, "cannot be got"),
        ("owner/absent", {"split": "train"}, "owner/absent cannot be got"),
    ],
)
def test_what_the_hub_lacks_is_told(
    hub: Path, name: str, options: dict[str, str], why: str
) -> None:
    with pytest.raises(ValueError, match=why):
        READER(hub=True, **options).rows({"file": Path(name)})


class Counted(FileIO):
    """A file that counts what is read of it, by where that begins and ends."""

    met: ClassVar[Counter[tuple[int, int]]]

    def read(self, size: int | None = -1, /) -> bytes:
        start = self.tell()
        content = super().read(size)
        self.met[start, self.tell()] += 1
        return content


class Far:
    """Stands for the hub: a folder."""

    def open(self, name: str, mode: str, *, cache_type: str) -> Counted:
        return Counted(Path(name))


@pytest.fixture
def far(hub: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same data set, left on a hub: `datasets` says where its files lie there."""
    left = SimpleNamespace(config=SimpleNamespace(data_files={}))
    for split in ("train", "test"):
        name = f"owner/toy@abc/{split}-00000-of-00001.parquet"
        left.config.data_files[split] = [f"hf://datasets/{name}"]
    copytree(hub / "owner/toy", hub / "datasets/owner/toy@abc")
    monkeypatch.setattr(Counted, "met", Counter(), raising=False)
    monkeypatch.setattr("huggingface_hub.HfFileSystem", Far)
    monkeypatch.setattr("datasets.load_dataset_builder", lambda *args, **options: left)
    return hub


STREAMED = {"hub": True, "split": "train", "streaming": True}


def test_a_split_is_left_on_the_hub_and_read_there(far: Path) -> None:
    found = samples(Path("owner/toy"), far, **STREAMED)
    assert [s.messages[1].text for s in found] == [f"train {n}" for n in range(5)]
    assert not (far / "cache").exists()
    for number, sample in enumerate(found):
        (image,) = sample.images
        check_image(image)
        assert media.exists(image)
        assert media.digest_of(image) == sha256(png(number)).hexdigest()
        assert media.stat_of(image) == (0, 0)
        assert not media.exists(image.with_name("none"))
    # Groups of two rows; words and pictures are apart, and each byte comes once but for the ends.
    (file,) = (far / "datasets/owner/toy@abc").glob("train*")
    ends = file.stat().st_size - 8
    assert max(times for (_, end), times in Counted.met.items() if 8 < end <= ends) == 1


def test_rows_of_a_group_are_told_apart_from_others(far: Path) -> None:
    rows = READER(**STREAMED).rows({"file": Path("owner/toy")})
    assert isinstance(rows, LazyRows)
    assert rows.blocks() == [0, 2, 4, 5]
    kept = READER(hub=True, split="train").rows({"file": Path("owner/toy")})
    assert isinstance(kept, LazyRows)
    assert kept.blocks() is None
    assert "" != rows.digest != kept.digest != ""


def test_what_cannot_be_streamed_is_told(far: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="has the splits train, test; not 'none'"):
        READER(hub=True, split="none", streaming=True).rows({"file": Path("owner/toy")})
    for file, why in (("hf://datasets/a/b@c/a.zip", "refs/convert"), ("https://a.parquet", "lie")):
        left = SimpleNamespace(config=SimpleNamespace(data_files={"train": [file]}))
        monkeypatch.setattr("datasets.load_dataset_builder", lambda *a, left=left, **o: left)
        with pytest.raises(ValueError, match=why):
            READER(**STREAMED).rows({"file": Path("owner/toy")})


def test_a_row_cannot_name_what_lies_on_the_hub(tmp_path: Path) -> None:
    row = {"image": "/hf:/datasets/owner/toy@abc/a.parquet/0/image", "caption": "words"}
    with pytest.raises(Fault, match="leaves the image root"):
        content_of_row(row, name="x", image_root=tmp_path)


@pytest.mark.parametrize(
    "options",
    [
        *({"hub": True}, {"split": "train"}, {"subset": "a"}, {"hub": False, "split": "a"}),
        *({"revision": "main"}, {"streaming": True}),
    ],
)
def test_no_setting_is_ignored(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="needs a split"):
        READER(**options)


def test_without_datasets_the_hub_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install 'isthmus\[hub\]'"):
        READER(hub=True, split="train").rows({"file": Path("owner/toy")})


def test_what_is_no_table_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"<html>404</html>")
    with pytest.raises(ValueError, match=r"a\.parquet is no table"):
        contents(tmp_path)
    (tmp_path / "a.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(ValueError, match=r"a\.parquet cannot be read"):
        contents(tmp_path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tables")
    rows = [{"images": [picture(n)], "texts": TEXTS} for n in range(5)]
    for name in FORMS:
        write_table(root / name, rows, FINE_VISION)
    return root


def try_all(file: Path) -> None:
    """Reads whatever a file holds; only a fault of a row or of the file may be raised."""
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


@settings(max_examples=40, deadline=None)
@given(name=st.sampled_from(FORMS), share=st.floats(0, 1), end=st.binary(max_size=40))
def test_any_truncation(noise: Path, folder: Path, name: str, share: float, end: bytes) -> None:
    content = (folder / name).read_bytes()
    file = noise / f"{next(NUMBERS)}-{name}"
    file.write_bytes(content[: int(share * len(content))] + end)
    try_all(file)


@settings(max_examples=40, deadline=None)
@given(start=st.sampled_from([b"", b"PAR1", b"ARROW1\0\0", b"\xff" * 4]), end=st.binary())
def test_any_bytes(noise: Path, start: bytes, end: bytes) -> None:
    file = noise / f"{next(NUMBERS)}.parquet"
    file.write_bytes(start + end)
    try_all(file)
