"""Flickr30k Entities: captions whose noun phrases name the boxes of their picture."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, final
from xml.etree import ElementTree

from isthmus.data.facts import Grounded, Item
from isthmus.data.faults import Fault, Filtered
from isthmus.data.sources._files import read_bytes, read_text
from isthmus.data.sources._values import box, check_template, filled, size
from isthmus.data.sources.base import Reader, image_paths
from isthmus.geometry.boxes import Box

_PHRASE = re.compile(r"\[/EN#(\d+)(?:/[^\s/\]]+)+ ([^\]]*)\]")
_EDGES = ("xmin", "ymin", "xmax", "ymax")


@final
@dataclass(frozen=True, kw_only=True)
class Flickr30kEntities(Reader):
    """Reads the folder that holds `Sentences` and `Annotations`; a row is an image.

    A line of `Sentences/1.txt` is a caption, in which `[/EN#12/people A boy]` is the phrase of the
    entity 12; `Annotations/1.xml` holds the boxes of an entity, several for one where the phrase
    names several. Entities that cannot be seen, or have no box, stand as plain words.

    Units: the file counts pixels from 1; boxes here are one less at each edge, as the data set's
        own tools make them.
    """

    files: ClassVar[tuple[str, ...]] = ("file",)

    split: Literal["train", "val", "test"] = "train"
    """The images that `train.txt`, `val.txt` or `test.txt` of the folder names."""
    image: str = "{id}.jpg"
    """Template of an image's path."""

    def __post_init__(self) -> None:
        """Checks the template."""
        check_template(self.image)

    def rows(self, files: Mapping[str, Path]) -> Sequence[Any]:
        """Returns where each image's two files are, which are read later; see `Reader.rows`."""
        folder = files["file"]
        sentences = sorted(folder.glob("Sentences/*.txt"))
        if not sentences:
            raise ValueError(f"{folder} holds no Sentences/*.txt; expected the unpacked data set")
        asked = set(read_text(folder / f"{self.split}.txt").split())
        return [
            {
                "sentences": file,
                "annotation": folder / "Annotations" / f"{file.stem}.xml",
                "is_asked": file.stem in asked,
            }
            for file in sentences
        ]

    def content(self, row: Any, *, name: str, image_root: Path) -> Item:
        """Returns an image with its captions; see `Reader.content`."""
        if not row["is_asked"]:
            raise Filtered("split")
        sentences, annotation = row["sentences"], row["annotation"]
        if not annotation.is_file():
            raise Fault("no_partner", f"beside {sentences.name} is no {annotation.name}")
        try:
            captions, tree = read_text(sentences), _tree(annotation)
        except ValueError as error:
            raise Fault("wrong_layout", str(error)) from error
        boxes = _boxes(tree)
        extent = size(tree.findtext("size/width"), tree.findtext("size/height"))
        facts = []
        for line in filter(str.strip, captions.split("\n")):
            words, places = _grounded(line.strip(), boxes)
            facts.append(Grounded(text=words, places=places, size=extent))
        return Item(
            id=sentences.stem,
            images=image_paths(filled(self.image, {"id": sentences.stem}), image_root),
            facts=tuple(facts),
            task="grounded",
        )


def _tree(file: Path) -> ElementTree.Element:
    content = read_bytes(file)
    if b"<!DOCTYPE" in content:  # a few lines of it can name gigabytes of text
        raise ValueError(f"{file} declares a document type; expected plain elements")
    try:
        return ElementTree.fromstring(content)
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise ValueError(f"{file} is not XML ({error})") from error


def _boxes(tree: ElementTree.Element) -> dict[str, list[Box]]:
    """Returns the boxes of each entity."""
    found: dict[str, list[Box]] = {}
    for thing in tree.iter("object"):
        for held in thing.iter("bndbox"):
            x0, y0, x1, y1 = box([held.findtext(edge) for edge in _EDGES], "a bndbox", "xyxy")
            for name in thing.iter("name"):
                place = (x0 - 1, y0 - 1, x1 - 1, y1 - 1)
                found.setdefault((name.text or "").strip(), []).append(place)
    return found


def _grounded(
    line: str, boxes: Mapping[str, list[Box]]
) -> tuple[str, tuple[tuple[int, int, tuple[Box, ...]], ...]]:
    """Returns the words of a caption, and where in them which boxes are named."""
    words, places, done = "", [], 0
    for match in _PHRASE.finditer(line):
        words += line[done : match.start()]
        entity, phrase = match.groups()
        if entity in boxes:
            places.append((len(words), len(words) + len(phrase), tuple(boxes[entity])))
        words, done = words + phrase, match.end()
    return words + line[done:], tuple(places)


READER = Flickr30kEntities
