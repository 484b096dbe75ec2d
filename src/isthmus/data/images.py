"""Image files: what can be wrong with one, and how it is seen."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from isthmus.data.faults import Fault, Reason

DAMAGE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)
"""What Pillow raises on damaged files, found by damaging files of ten formats at random."""

_SIDEWAYS = (5, 6, 7, 8)
"""EXIF orientations of a picture that was taken with the camera turned by a quarter."""

_WHITE = (255, 255, 255, 255)


@contextmanager
def readable(name: str) -> Iterator[None]:
    """Turns whatever Pillow raises on a damaged picture into one error.

    Args:
        name: what the error calls the picture.

    Raises:
        Fault: the picture cannot be read.
    """
    try:
        yield
    except DAMAGE as error:
        raise Fault(_reason(error), f"{name} cannot be read: {error}") from error


def upright_size(path: Path) -> tuple[int, int]:
    """Returns width and height of an image as it is seen, turned the way its EXIF data says.

    Units: original pixels.

    Raises:
        Fault: the file is no image that Pillow can read.
    """
    with readable(f"the image {path}"), Image.open(path) as image:
        width, height = image.size
        is_sideways = image.getexif().get(ExifTags.Base.Orientation) in _SIDEWAYS
    return (height, width) if is_sideways else (width, height)


def as_seen(image: Image.Image) -> Image.Image:
    """Returns an image in RGB as a person sees it: turned upright, transparency over white.

    Of an animation it is the first frame. Sixteen bits become eight by their upper ones, where
    Pillow's own conversion would cut off all that is brighter than 255.
    """
    upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith("I;16") or upright.mode == "I":
        levels = np.asarray(upright).astype(np.int64)
        upright = Image.fromarray((levels.clip(0, 65535) >> 8).astype(np.uint8))
    if upright.has_transparency_data:
        upright = upright.convert("RGBA")
        upright = Image.alpha_composite(Image.new("RGBA", upright.size, _WHITE), upright)
    return upright.convert("RGB")


def check_image(path: Path) -> None:
    """Reads an image file whole.

    Raises:
        Fault: it cannot be read.
    """
    if path.stat().st_size == 0:
        raise Fault("image_empty", f"the image {path} is an empty file; save it again")
    with readable(f"the image {path}"), Image.open(path) as image:
        as_seen(image)


def _reason(error: Exception) -> Reason:
    if isinstance(error, Image.DecompressionBombError):
        return "image_too_large"
    return "not_an_image" if isinstance(error, UnidentifiedImageError) else "image_damaged"
