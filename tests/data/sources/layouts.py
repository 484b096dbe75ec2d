"""Data sets of a few rows, exactly in the published schemas, and what their rows say."""

import json
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from isthmus.data.facts import Item
from isthmus.data.sample import Sample


@dataclass(frozen=True)
class Json:
    value: Any


@dataclass(frozen=True)
class JsonLines:
    value: Sequence[Any]


@dataclass(frozen=True)
class Pickle:
    """As Python 2 wrote it."""

    value: Any


@dataclass(frozen=True)
class Plain:
    value: str


@dataclass(frozen=True)
class Folder:
    value: Mapping[str, Any]


Content = Json | JsonLines | Pickle | Plain | Folder


@dataclass(frozen=True, kw_only=True, repr=False)
class Layout:
    source: str
    files: Mapping[str, Content]
    rows: Sequence[Item | Sample | str]
    """What each row says; the reason of a fault, or `filtered` and the rule."""
    images: Sequence[str] = ("1.png",)
    """Files that are there; items of the rows name them as they stand here."""
    options: Mapping[str, Any] = field(default_factory=dict)


def content_bytes(content: Json | JsonLines | Pickle | Plain) -> bytes:
    match content:
        case Json(value):
            return json.dumps(value).encode()
        case JsonLines(value):
            return "".join(f"{json.dumps(row)}\n" for row in value).encode()
        case Pickle(value):
            return pickle.dumps(value, protocol=2)
        case Plain(value):
            return value.encode()


def write(content: Content, path: Path) -> None:
    if isinstance(content, Folder):
        for name, inner in content.value.items():
            write(inner, path / name)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content_bytes(content))


def written(layout: Layout, folder: Path) -> dict[str, Path]:
    """Writes the files and images of a data set, and returns where the files are."""
    for image in layout.images:
        (folder / image).parent.mkdir(parents=True, exist_ok=True)
        (folder / image).touch()
    files = {name: folder / "data" / name for name in layout.files}
    for name, path in files.items():
        write(layout.files[name], path)
    return files
