"""Whatever a file holds, each of its rows becomes a sample or a fault, or the file is refused."""

import json
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.data.faults import Fault
from isthmus.data.sample import Sample
from isthmus.data.sources import entries
from tests.tiny import tiny_image

WORDS = (
    *("id", "task", "image", "images", "path", "caption", "annotations", "image_id", "file_name"),
    *("messages", "role", "content", "type", "text", "conversations", "items", "from", "value"),
    *("texts", "user", "assistant", "human", "gpt", "meta", "boxes", "1.png", "<image>", "", "é"),
)
LEAVES = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(WORDS) | st.text()
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=5)
    ),
    max_leaves=25,
)


@pytest.fixture(scope="module")
def root() -> Iterator[Path]:
    with TemporaryDirectory() as folder:
        tiny_image().save(Path(folder) / "1.png")
        yield Path(folder)


def check(root: Path, content: bytes) -> None:
    file = root / "fuzz.json"
    file.write_bytes(content)
    try:
        found = list(entries(file, root))
    except ValueError:
        return
    assert found
    assert all(isinstance(entry.content, Sample | Fault) for entry in found)
    assert len({entry.row for entry in found}) == len(found)


@given(rows=st.lists(VALUES, max_size=4), as_array=st.booleans())
def test_any_json(root: Path, rows: list[Any], as_array: bool) -> None:
    lines = "\n".join(json.dumps(row) for row in rows)
    check(root, (json.dumps(rows) if as_array else lines).encode())


@given(
    images=st.lists(st.dictionaries(st.sampled_from(("id", "file_name")), VALUES), max_size=3),
    told=st.lists(
        st.dictionaries(st.sampled_from(("id", "image_id", "caption")), VALUES), max_size=3
    ),
    rest=st.dictionaries(st.sampled_from(WORDS), VALUES, max_size=3),
)
def test_any_document(root: Path, images: list[Any], told: list[Any], rest: dict[str, Any]) -> None:
    whole = {"images": images, "annotations": told, **rest}
    check(root, json.dumps(whole).encode())
    check(root, json.dumps(whole, indent=1).encode())


@given(content=st.binary(max_size=200))
def test_any_bytes(root: Path, content: bytes) -> None:
    check(root, content)


@given(row=VALUES, keep=st.integers(0, 400), mixed=st.binary(max_size=3))
def test_any_truncation(root: Path, row: Any, keep: int, mixed: bytes) -> None:
    check(root, json.dumps([row, row]).encode()[:keep] + mixed)
