"""Boxes that a model names in words, drawn on the picture that it speaks of."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

from PIL import Image, ImageColor, ImageDraw

from isthmus.geometry.box_codecs import BoxText
from isthmus.geometry.boxes import Box

_COLOURS = ("#e6194b", "#3cb44b", "#4363d8", "#f58231", "#911eb4", "#008080")
_ENLARGED = 320
"""Shortest edge that a small picture is enlarged to, so that its boxes can be told apart."""


@final
@dataclass(kw_only=True)
class Pen:
    """Draws what answers name, each into a file of its own."""

    folder: Path
    """Where the pictures go; made when it does not exist."""
    boxes: BoxText
    """How the model writes boxes."""
    drawn: int = 0
    """Pictures so far."""

    def draw(self, answer: str, picture: Image.Image, shown: tuple[int, int]) -> str:
        """Draws the boxes of an answer; returns a line that tells where, or why not.

        Args:
            answer: what the model said.
            picture: that it was shown last.
            shown: width and height of the picture as the model meets it, in pixels.
        """
        read = self.boxes.read(answer, picture.size, shown)
        unread = f"; {len(read.unread)} cannot be read" if read.unread else ""
        if not read.boxes:
            return f"(no box to draw{unread})"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.drawn += 1
        file = self.folder / f"answer-{self.drawn}.png"
        with_boxes(picture, read.boxes).save(file)
        many = "1 box" if len(read.boxes) == 1 else f"{len(read.boxes)} boxes"
        return f"({many} in {file}{unread})"


def with_boxes(picture: Image.Image, boxes: Sequence[Box]) -> Image.Image:
    """Returns a picture with boxes on it; a small one is enlarged.

    Args:
        picture: is left as it is.
        boxes: corners. Units: pixels of the picture.
    """
    scale = max(1, -(-_ENLARGED // min(picture.size)))
    size = (picture.width * scale, picture.height * scale)
    image = picture.convert("RGB").resize(size, Image.Resampling.NEAREST)
    pen, width = ImageDraw.Draw(image), max(2, round(min(size) / 160))
    for number, box in enumerate(boxes):
        edges = [edge * scale for edge in box]
        # A light line around it, so that it shows on any picture.
        pen.rectangle([edges[0] - 1, edges[1] - 1, edges[2] + 1, edges[3] + 1], outline="white")
        colour = ImageColor.getrgb(_COLOURS[number % len(_COLOURS)])
        pen.rectangle(edges, outline=colour, width=width)
    return image
