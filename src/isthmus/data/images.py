"""Image files: what can be wrong with one, and how it is seen."""

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError
from PIL.Image import Transpose

from isthmus.data import media
from isthmus.data.faults import Fault, Reason
from isthmus.data.video import parse_frame_path, read_frame

FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
"""What is read, whatever a file is called. Pillow knows more, but it hands PostScript, which is a
programming language, to another program."""

MAX_PIXELS = 178_956_970
"""Width times height of the largest picture that is decoded, half a GiB in RGB: a small file can
claim any size. Pillow stops here, too, unless a library in the same process told it not to."""

_TURN = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}
"""What turns a picture upright, by the EXIF orientation that the camera wrote."""
_SIDEWAYS = (5, 6, 7, 8)
"""Orientations of a picture that was taken with the camera turned by a quarter."""

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
    except Fault:
        raise
    except Exception as error:  # a decoder fed with noise raises anything
        raise Fault(_reason(error), f"{name} cannot be read: {error}") from error


@contextmanager
def opened(source: Path | BytesIO, name: str) -> Iterator[Image.Image]:
    """Opens a picture and reads it to its end.

    Args:
        source: path of an image, also of one inside another file, or its content.
        name: what the error calls the picture.

    Raises:
        Fault: it cannot be read.
    """
    with readable(name):
        image = _unread(source, name)
    with image:
        with readable(name):
            image.load()
        yield image


def upright_size(path: Path) -> tuple[int, int]:
    """Returns width and height of an image as it is seen, turned the way its EXIF data says.

    Units: original pixels.

    Raises:
        Fault: the file is no image that Pillow can read.
    """
    with readable(f"the image {path}"), _unread(path, f"the image {path}") as image:
        width, height = image.size
        is_sideways = _orientation(image) in _SIDEWAYS
    return (height, width) if is_sideways else (width, height)


def as_seen(image: Image.Image) -> Image.Image:
    """Returns an image in RGB as a person sees it: turned upright, transparency over white.

    Of an animation it is the first frame. Sixteen bits become eight by their upper ones, where
    Pillow's own conversion would cut off all that is brighter than 255.
    """
    turn = _TURN.get(_orientation(image))
    upright = image if turn is None else image.transpose(turn)
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
    with opened(path, f"the image {path}") as image:
        as_seen(image)


def _unread(source: Path | BytesIO, name: str) -> Image.Image:
    """Returns a picture of which no pixel is decoded; only here does a path become a picture."""
    if isinstance(source, Path) and (frame := parse_frame_path(source)) and not source.is_file():
        return read_frame(*frame)
    content = media.opened(source) if isinstance(source, Path) else source
    image = Image.open(content, formats=FORMATS)
    width, height = image.size
    if width * height > MAX_PIXELS:
        image.close()
        raise Fault(
            "image_too_large",
            f"{name} has {width} x {height} pixels; expected at most {MAX_PIXELS} in all; "
            "store it smaller",
        )
    return image


def _orientation(image: Image.Image) -> int:
    """Returns how a camera was held; upright when the picture does not say so legibly."""
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # the picture is usable, whatever is wrong with its EXIF data
        return 1


def _reason(error: Exception) -> Reason:
    if isinstance(error, Image.DecompressionBombError):
        return "image_too_large"
    return "not_an_image" if isinstance(error, UnidentifiedImageError) else "image_damaged"
