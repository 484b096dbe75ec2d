"""Sample pictures inside the page: data URIs under a drawing of true and predicted boxes."""

from base64 import b64encode
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

from markupsafe import Markup
from PIL import Image

from isthmus.data.images import as_seen, opened
from isthmus.geometry.boxes import Box

_SMALL = 200
"""Longest edge up to which a picture is kept pixel by pixel and enlarged with hard edges."""
_LARGEST = 480
"""Longest edge of a picture in the page; a larger one is reduced. Units: pixels."""


def picture(
    path: Path, alternative: str, *, truth: Sequence[Box] = (), predicted: Sequence[Box] = ()
) -> Markup:
    """Draws one picture with its boxes.

    Args:
        path: The picture; it is embedded, so the page needs no file beside it.
        alternative: What the picture shows, for those who cannot see it.
        truth: True boxes, dashed. Units: pixels of the original picture.
        predicted: Boxes of the model, solid. Units: pixels of the original picture.

    Raises:
        ValueError: the file is no image that Pillow can read.
    """
    with opened(path, f"the image {path}") as file:
        image = as_seen(file)
    width, height = image.size
    small = max(width, height) <= _SMALL
    rectangles = [
        _rectangle(box, kind)
        for kind, boxes in (("truth", truth), ("predicted", predicted))
        for box in boxes
    ]
    return Markup(
        '<svg class="picture{}" viewBox="0 0 {} {}" role="img" aria-label="{}">'
        '<image href="{}" width="{}" height="{}" preserveAspectRatio="none"/>{}</svg>'
    ).format(
        " crisp" if small else "",
        width,
        height,
        alternative,
        _data_uri(image, small),
        width,
        height,
        Markup("").join(rectangles),
    )


def _rectangle(box: Box, kind: str) -> Markup:
    x0, y0, x1, y1 = box
    shape = Markup('x="{:.2f}" y="{:.2f}" width="{:.2f}" height="{:.2f}"').format(
        x0, y0, x1 - x0, y1 - y0
    )
    # the wider line below keeps the box visible on any picture
    return Markup('<rect class="halo" {}/><rect class="box {}" {}/>').format(shape, kind, shape)


def _data_uri(image: Image.Image, small: bool) -> str:
    buffer = BytesIO()
    if small:
        image.save(buffer, "PNG", optimize=True)
    else:
        image.thumbnail((_LARGEST, _LARGEST))
        image.save(buffer, "JPEG", quality=85)
    kind = "png" if small else "jpeg"
    return f"data:image/{kind};base64,{b64encode(buffer.getvalue()).decode()}"
