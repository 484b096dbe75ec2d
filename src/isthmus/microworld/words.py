"""Scenes and things in words: one grammar for captions, questions and what the LM reads."""

from itertools import combinations
from random import Random

from isthmus.geometry.boxes import format_box
from isthmus.microworld.scene import ATTRIBUTES, CANVAS, Box, Scene, Thing

_SQUARE = CANVAS // 8
_SUBSETS = {
    allowed: [c for n in range(1, len(allowed) + 1) for c in combinations(allowed, n)]
    for n in range(1, len(ATTRIBUTES) + 1)
    for allowed in combinations(ATTRIBUTES, n)
}


def box_text(box: Box) -> str:
    """A box in percent of the canvas: `[[x0,y0,x1,y1]]`, two digits each."""
    return format_box(box, (CANVAS, CANVAS), digits=2)


def noun_phrase(thing: Thing, attributes: tuple[str, ...] = ATTRIBUTES) -> str:
    """The thing's chosen attributes in the fixed order size, colour, fill, shape."""
    words = [getattr(thing, name) for name in ATTRIBUTES[:3] if name in attributes]
    return " ".join([*words, thing.shape if "shape" in attributes else "shape"])


def matches(scene: Scene, attributes: dict[str, str]) -> list[Thing]:
    """The things that have all these attribute values."""
    return [
        thing
        for thing in scene.things
        if all(getattr(thing, name) == value for name, value in attributes.items())
    ]


def refer(
    scene: Scene, thing: Thing, rng: Random, allowed: tuple[str, ...] = ATTRIBUTES
) -> str | None:
    """A noun phrase true of this thing alone, as short as it can be, or None when there is none."""
    for size in range(1, len(allowed) + 1):
        unique = [
            subset
            for subset in _SUBSETS[allowed]
            if len(subset) == size
            and sum(all(getattr(o, a) == getattr(thing, a) for a in subset) for o in scene.things)
            == 1
        ]
        if unique:
            return noun_phrase(thing, rng.choice(unique))
    return None


def square(thing: Thing) -> tuple[int, int]:
    """Column and row, 0 to 7 each, of the square of the 8x8 board that holds the thing's centre."""
    x, y = thing.centre
    return int(x) // _SQUARE, int(y) // _SQUARE


def square_text(thing: Thing) -> str:
    """The thing's square as in chess: columns a to h from the left, rows 1 to 8 from the top."""
    column, row = square(thing)
    return f"{'abcdefgh'[column]}{row + 1}"


def scene_text(scene: Scene, rng: Random, *, boxes: bool = False) -> str:
    """The whole scene as a list in words, in random order.

    Units: a place is a square of the board before the thing, or a box in percent behind it. The
    square stands first so that the noun comes last: a causal model can gather a thing there.
    """
    parts = []
    for thing in scene.things:
        phrase = noun_phrase(thing)
        parts.append(
            f"{phrase} {box_text(thing.box)}" if boxes else f"{square_text(thing)} {phrase}"
        )
    if scene.sign:
        parts.append(f'sign "{scene.sign.text}"')
    rng.shuffle(parts)
    return "; ".join(parts) + "."
