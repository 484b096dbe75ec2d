"""Scene -> picture: anti-aliased shapes with a fill, pasted onto a plain or noisy background."""

import math
import zlib
from collections.abc import Mapping
from functools import cache, lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from isthmus.microworld.scene import CANVAS, Scene, Sign, Thing

Rgb = tuple[int, int, int]
RGB: Mapping[str, Rgb] = {
    "red": (220, 30, 35),
    "orange": (245, 135, 20),
    "yellow": (245, 220, 40),
    "green": (40, 160, 60),
    "cyan": (50, 205, 215),
    "blue": (40, 80, 220),
    "purple": (135, 50, 180),
    "pink": (250, 130, 190),
}
_SUPER = 4
"""Masks are drawn this many times larger and reduced, which smooths their edges."""
_FONT = ImageFont.load_default_imagefont()
_INK, _PLATE = (20, 20, 20), (250, 250, 250)


def _polygon(points: int, inner: float, turn: float) -> list[tuple[float, float]]:
    """Corners in the unit square, alternately on the outer circle and at `inner` of its radius."""
    corners = []
    for i in range(points):
        radius = 0.5 * (1.0 if i % 2 == 0 else inner)
        angle = 2 * math.pi * i / points + turn
        corners.append((0.5 + radius * math.sin(angle), 0.5 - radius * math.cos(angle)))
    return corners


_POLYGONS = {
    "square": [(0.06, 0.06), (0.94, 0.06), (0.94, 0.94), (0.06, 0.94)],
    "triangle": [(0.5, 0.02), (1.0, 0.96), (0.0, 0.96)],
    "diamond": [(0.5, 0.0), (0.86, 0.5), (0.5, 1.0), (0.14, 0.5)],
    "star": _polygon(10, 0.42, 0.0),
}


@cache
def _mask(shape: str, pixels: int) -> Image.Image:
    """Coverage of a shape, 0 to 255, at `pixels` by `pixels`."""
    side = pixels * _SUPER
    mask = Image.new("L", (side, side))
    draw = ImageDraw.Draw(mask)

    def disc(x0: float, y0: float, x1: float, y1: float, value: int = 255) -> None:
        draw.ellipse([x0 * side, y0 * side, x1 * side - 1, y1 * side - 1], fill=value)

    def bar(x0: float, y0: float, x1: float, y1: float) -> None:
        draw.rectangle([x0 * side, y0 * side, x1 * side - 1, y1 * side - 1], fill=255)

    if shape in _POLYGONS:
        draw.polygon([(x * side, y * side) for x, y in _POLYGONS[shape]], fill=255)
    elif shape == "cross":
        bar(0.34, 0.0, 0.66, 1.0)
        bar(0.0, 0.34, 1.0, 0.66)
    elif shape == "heart":
        disc(0.0, 0.05, 0.54, 0.59)
        disc(0.46, 0.05, 1.0, 0.59)
        draw.polygon(
            [(0.04 * side, 0.44 * side), (0.96 * side, 0.44 * side), (0.5 * side, side)], 255
        )
    else:
        disc(0.0, 0.0, 1.0, 1.0)
        if shape == "moon":
            disc(0.34, -0.06, 1.22, 0.82, value=0)
        elif shape == "ring":
            disc(0.3, 0.3, 0.7, 0.7, value=0)
    return mask.reduce(_SUPER)


@cache
def _fill(fill: str, pixels: int) -> Image.Image:
    """Where a fill darkens the shape, as a mask; empty for solid."""
    y, x = np.mgrid[:pixels, :pixels]
    dark = {
        "solid": np.zeros_like(x, dtype=bool),
        "striped": y % 4 < 2,
        "dotted": (x % 4 < 2) & (y % 4 < 2),
    }[fill]
    return Image.fromarray(dark.astype(np.uint8) * 255)


@lru_cache(maxsize=4096)
def _sprite(shape: str, rgb: Rgb, fill: str, pixels: int) -> tuple[Image.Image, Image.Image]:
    """A thing's pixels and its coverage."""
    red, green, blue = rgb
    sprite = Image.new("RGB", (pixels, pixels), rgb)
    sprite.paste((red * 9 // 20, green * 9 // 20, blue * 9 // 20), mask=_fill(fill, pixels))
    return sprite, _mask(shape, pixels)


def _background(scene: Scene) -> Image.Image:
    if not scene.noise:
        return Image.new("RGB", (CANVAS, CANVAS), (scene.tone,) * 3)
    # The noise belongs to the scene: the same scene is always the same picture.
    rng = np.random.default_rng(zlib.crc32(repr(scene).encode()))
    noise = rng.integers(-scene.noise, scene.noise + 1, (CANVAS, CANVAS, 1))
    grey = np.clip(scene.tone + noise, 0, 255).astype(np.uint8)
    return Image.fromarray(np.repeat(grey, 3, axis=2))


def _paste_thing(picture: Image.Image, thing: Thing, palette: Mapping[str, Rgb]) -> None:
    x0, y0, x1, _ = thing.box
    sprite, mask = _sprite(thing.shape, palette[thing.colour], thing.fill, x1 - x0)
    picture.paste(sprite, (x0, y0), mask)


def _paste_sign(picture: Image.Image, sign: Sign) -> None:
    x0, y0, x1, y1 = sign.box
    draw = ImageDraw.Draw(picture)
    draw.rectangle([x0, y0, x1 - 1, y1 - 1], fill=_PLATE, outline=_INK)
    draw.text((x0 + 3, y0 + 1), sign.text, font=_FONT, fill=_INK)


def render(scene: Scene, palette: Mapping[str, Rgb] = RGB) -> Image.Image:
    """Draws a scene as a 64x64 RGB picture; the same scene always gives the same pixels.

    Args:
        scene: What to draw.
        palette: How each colour looks; another palette draws the same scene in other colours.
    """
    picture = _background(scene)
    if scene.sign:
        _paste_sign(picture, scene.sign)
    for thing in scene.things:
        _paste_thing(picture, thing, palette)
    return picture
