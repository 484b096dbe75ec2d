"""Pictures show what the scene says, where it says it."""

from dataclasses import replace

import numpy as np
import pytest

from isthmus.microworld.render import RGB, render
from isthmus.microworld.scene import COLOURS, FILLS, SHAPES, Scene, Sign, Thing, scenes

BOX = (20, 17, 41, 38)
EMPTY = Scene(things=(), sign=None, tone=235, noise=0)


def changed(scene: Scene) -> np.ndarray:
    """Where a picture differs from its empty background."""
    difference = np.asarray(render(scene), int) - np.asarray(render(EMPTY), int)
    return np.abs(difference).sum(-1) > 60


@pytest.mark.parametrize("shape", SHAPES)
def test_boxes_are_exact(shape: str) -> None:
    scene = replace(EMPTY, things=(Thing("large", "red", "solid", shape, BOX),))
    rows, columns = np.nonzero(changed(scene))
    ink = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    # The diamond, the star and the moon are narrower than the square they are drawn in.
    slack = 4 if shape in {"diamond", "star", "moon"} else 2
    assert np.abs(np.subtract(ink, BOX)).max() <= slack
    assert ink[0] >= BOX[0]
    assert ink[1] >= BOX[1]
    assert ink[2] <= BOX[2]
    assert ink[3] <= BOX[3]


@pytest.mark.parametrize("colour", COLOURS)
def test_colours_are_as_named(colour: str) -> None:
    scene = replace(EMPTY, things=(Thing("large", colour, "solid", "square", BOX),))
    assert render(scene).getpixel((30, 27)) == RGB[colour]


def test_shapes_and_fills_all_look_different() -> None:
    kinds = [
        np.asarray(render(replace(EMPTY, things=(Thing("large", "blue", fill, shape, BOX),))), int)
        for shape in SHAPES
        for fill in FILLS
    ]
    for i, a in enumerate(kinds):
        for b in kinds[:i]:
            assert (np.abs(a - b).sum(-1) > 60).sum() > 20


def test_signs_with_different_words_look_different() -> None:
    box = (4, 4, 28, 17)
    pictures = {
        render(replace(EMPTY, sign=Sign(text, box))).tobytes() for text in ("cat", "car", "oak")
    }
    assert len(pictures) == 3


def test_a_scene_is_always_the_same_picture() -> None:
    for scene, _ in scenes("test", 20):
        assert render(scene).tobytes() == render(scene).tobytes()
