"""Whatever is in its files, a reader refuses them, or tells of each row what it says or its fault.

Every source with a name is tried with anything at all, and with its own files, damaged.
"""

import copy
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from shutil import rmtree
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.data.facts import Item
from isthmus.data.faults import Fault, Filtered
from isthmus.data.sample import Sample
from isthmus.data.sources._named import load_reader, names
from isthmus.data.sources.base import Reader
from tests.data.sources.layouts import (
    Content,
    Folder,
    Json,
    JsonLines,
    Layout,
    Pickle,
    Plain,
    content_bytes,
    written,
)
from tests.data.sources.test_readers import LAYOUTS

LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(["1.png", "..", "", "0", "é\x00", "\ud800", 10**400, 10**18])
    | st.text(max_size=5)
)
VALUES = (
    LEAVES
    | st.lists(LEAVES, max_size=4)
    | st.dictionaries(st.sampled_from(("id", "image", "split", "bbox", "x")), LEAVES, max_size=3)
)
few = settings(max_examples=15, deadline=None)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fuzz")
    for layout in LAYOUTS:
        written(replace(layout, files={}), folder)
    return folder


def check(reader: Reader, files: dict[str, Path], root: Path) -> None:
    try:
        rows = reader.rows(files)
    except ValueError:
        return
    for index in range(len(rows)):
        try:
            found = reader.content(rows[index], name=f"row-{index}", image_root=root)
        except (Fault, Filtered):
            continue
        assert isinstance(found, Item | Sample)
        assert all(path.is_relative_to(root.resolve()) for path in found.images)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The ways to all that is inside a value."""
    if path:
        yield path
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from places(value[key], (*path, key))


def changed(value: Any, data: st.DataObject) -> Any:
    """A value with something in it replaced or taken out."""
    value = copy.deepcopy(value)
    ways = list(places(value))
    if not ways:
        return data.draw(VALUES)
    *way, last = data.draw(st.sampled_from(ways))
    holder = value
    for key in way:
        holder = holder[key]
    if data.draw(st.booleans()):
        holder[last] = data.draw(VALUES)
    else:
        del holder[last]
    return value


def damaged(content: Content, data: st.DataObject) -> dict[str, bytes]:
    """The files of a content by their path from it, of which one is damaged."""
    if isinstance(content, Folder):
        inner = dict(content.value)
        name = data.draw(st.sampled_from(sorted(inner)))
        found = {
            f"{key}{rest}": whole
            for key, each in inner.items()
            for rest, whole in (damaged(each, data) if key == name else intact(each)).items()
        }
        return {f"/{path}": whole for path, whole in found.items()}
    for _ in range(data.draw(st.integers(0, 2))):
        if not isinstance(content, Plain):
            content = replace(content, value=changed(content.value, data))
    return {"": torn(content, data)}


def torn(content: Json | JsonLines | Pickle | Plain, data: st.DataObject) -> bytes:
    """The bytes of a content, often with some cut out or put in."""
    try:
        whole = content_bytes(content)
    except (UnicodeEncodeError, TypeError):  # what only JSON can hold, or cannot
        whole = b""
    if data.draw(st.booleans()):
        return whole
    start = data.draw(st.integers(0, len(whole)))
    end = data.draw(st.integers(start, len(whole)))
    return whole[:start] + data.draw(st.binary(max_size=4)) + whole[end:]


def intact(content: Content) -> dict[str, bytes]:
    if isinstance(content, Folder):
        return {
            f"/{name}{rest}": whole
            for name, each in content.value.items()
            for rest, whole in intact(each).items()
        }
    return {"": content_bytes(content)}


def write(folder: Path, files: dict[str, dict[str, bytes]]) -> dict[str, Path]:
    for name, inner in files.items():
        for rest, whole in inner.items():
            path = Path(f"{folder / name}{rest}")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(whole)
    return {name: folder / name for name in files}


@pytest.mark.parametrize("source", names())
@few
@given(data=st.data())
def test_any_files(source: str, root: Path, data: st.DataObject) -> None:
    reader = load_reader(source)
    folder = root / "any" / uuid4().hex
    written_values = (
        st.lists(VALUES, max_size=3).map(lambda value: content_bytes(JsonLines(value)))
        | VALUES.map(lambda value: content_bytes(Json(value)))
        | st.binary(max_size=60)
    )
    files = {name: {"": data.draw(written_values)} for name in reader.files}
    check(reader, write(folder, files), root)
    rmtree(folder)


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.source)
@few
@given(data=st.data())
def test_damaged_files(layout: Layout, root: Path, data: st.DataObject) -> None:
    reader = load_reader(layout.source, **layout.options)
    folder = root / "damaged" / uuid4().hex
    name = data.draw(st.sampled_from(sorted(layout.files)))
    files = {
        key: damaged(content, data) if key == name else intact(content)
        for key, content in layout.files.items()
    }
    check(reader, write(folder, files), root)
    rmtree(folder)


OTHERS = {"by_content", "hf_table", "webdataset"}
"""Have no schema of their own."""


def test_every_source_is_tried_with_its_own_files() -> None:
    assert {layout.source for layout in LAYOUTS} >= set(names()) - OTHERS
