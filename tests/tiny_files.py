"""Data of a few rows in the files that recipes read: conversations, or the sets of a mixture."""

import json
from itertools import chain
from pathlib import Path
from string import Formatter
from typing import Any

import yaml

from tests.data.sources import (
    layouts_of_boxes,
    layouts_of_choices,
    layouts_of_places,
    layouts_of_questions,
    layouts_of_texts,
)
from tests.data.sources.layouts import Layout, written
from tests.tiny import tiny_image
from tests.tiny_containers import png, write_tar
from tests.tiny_video import clip

NUM = 6
_CLIPS = (".mp4", ".avi", ".webm")
_MODULES = (
    layouts_of_boxes,
    layouts_of_choices,
    layouts_of_places,
    layouts_of_questions,
    layouts_of_texts,
)
LAYOUTS: dict[str, Layout] = {
    value.source: value
    for value in chain.from_iterable(vars(module).values() for module in _MODULES)
    if isinstance(value, Layout)
}
"""By the name of the reader."""


def write_conversations(folder: Path) -> Path:
    """Writes LLaVA's JSON and its images; returns the file, whose folder is the image root.

    The last row has no image, as some of LLaVA's have none.
    """
    (folder / "images").mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    for n in range(NUM):
        tiny_image(n).save(folder / f"images/{n}.jpg")
        said = [
            {"from": "human", "value": "<image>\nWhat is it?"},
            {"from": "gpt", "value": f"a thing of kind {n}"},
        ]
        rows.append({"id": str(n), "image": f"images/{n}.jpg", "conversations": said})
    del rows[-1]["image"]
    rows[-1]["conversations"][0]["value"] = "Why?"
    file = folder / "conversations.json"
    file.write_text(json.dumps(rows))
    return file


def write_captions(folder: Path) -> Path:
    """Writes captions as LAVIS does, two of each image; returns the file, as above."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for n in range(NUM):
        tiny_image(n).save(folder / f"{n}.jpg")
        rows.append({"image": f"{n}.jpg", "caption": [f"a thing of kind {n}", f"kind {n}"]})
    file = folder / "captions.json"
    file.write_text(json.dumps(rows))
    return file


def write_tiny_mixture(published: Path, folder: Path) -> Path:
    """Writes a mixture with small files of each data set in its own layout; returns its file.

    Args:
        published: the mixture, of which all but the places of files is kept.
        folder: made when absent.
    """
    folder.mkdir(parents=True, exist_ok=True)
    mixture = yaml.safe_load(published.read_text("utf-8"))
    for entry in mixture["entries"]:
        place = folder / entry["name"]
        place.mkdir()
        for key in ("file", "files", "image_root"):
            entry.pop(key, None)
        entry |= _written(entry, place)
    file = folder / published.name
    file.write_text(yaml.safe_dump(mixture))
    return file


def _written(entry: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Writes a data set; returns where it lies."""
    source = entry.get("source")
    if entry.get("text_only"):
        said = [{"from": "human", "value": "Why?"}, {"from": "gpt", "value": "So it is."}]
        rows = [{"id": str(n), "conversations": said} for n in range(NUM)]
        (folder / "rows.json").write_text(json.dumps(rows))
        return {"file": str(folder / "rows.json")}
    if source is None or source == "by_content":
        return {"file": str(write_conversations(folder)), "image_root": str(folder)}
    if source == "webdataset":
        members = {}
        for n in range(NUM):
            members |= {f"{n:04}.jpg": png(n), f"{n:04}.txt": f"a thing of kind {n}".encode()}
        return {"file": str(write_tar(folder / "0.tar", members))}
    if isinstance(source, dict):
        return _mapped(source, folder)
    layout = LAYOUTS[source]
    files = {name: str(path) for name, path in written(layout, folder).items()}
    for image in layout.images:
        is_clip = Path(image).suffix in _CLIPS
        (folder / image).write_bytes(clip(num_frames=4) if is_clip else png())
    options = {**entry.get("options", {}), **layout.options}
    where: dict[str, Any] = {"image_root": str(folder), "options": options}
    return where | ({"file": files["file"]} if list(files) == ["file"] else {"files": files})


def _mapped(fields: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Writes rows with the keys that a field map of the mixture's own names, and their images."""
    rows = []
    for n in range(NUM):
        row = dict.fromkeys(fields["fields"].values(), f"a thing of kind {n}")
        row |= {key: n for _, key, _, _ in Formatter().parse(fields["image"]) if key}
        (folder / fields["image"].format_map(row)).write_bytes(png(n))
        rows.append(row)
    (folder / "rows.json").write_text(json.dumps(rows))
    return {"file": str(folder / "rows.json"), "image_root": str(folder)}
