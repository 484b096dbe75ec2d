"""Pictures made into the views that a plan describes, with Pillow."""

from collections.abc import Iterator, Sequence
from itertools import groupby

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from isthmus.geometry.resize import ResizePlan
from isthmus.geometry.view import View

Colour = tuple[int, int, int]
"""Red, green and blue, 0 to 255."""


def views(
    image: Image.Image, plan: ResizePlan, *, resample: int, fill: Colour
) -> UInt8[Tensor, "images 3 height width"]:
    """Returns the views of one picture as bytes, in the order of the plan.

    Args:
        image: in RGB and upright, see `as_seen`.
        plan: made for the size of the picture.
        resample: Pillow's number of the interpolation.
        fill: colour of padding, see `padding_colour`.

    Raises:
        ValueError: the picture is not in RGB, or the plan was made for another size.
    """
    if image.mode != "RGB":
        raise ValueError(f"the picture is in {image.mode}; expected RGB, see as_seen")
    if image.size != plan.views[0].picture:
        raise ValueError(
            f"the picture has {image.width} x {image.height} pixels, the plan is for "
            f"{' x '.join(map(str, plan.views[0].picture))}; plan for the size as it is seen"
        )
    pixels = np.stack(list(_views(image, plan, Image.Resampling(resample), fill)))
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()


def padding_colour(mean: Sequence[float]) -> Colour:
    """Returns the mean colour of what a tower was trained on, rounded down, as LLaVA pads with.

    Args:
        mean: of each channel, on the scale of 0 to 1.
    """
    red, green, blue = (int(channel * 255) for channel in mean)
    return red, green, blue


def _views(
    image: Image.Image, plan: ResizePlan, resample: Image.Resampling, fill: Colour
) -> Iterator[np.ndarray]:
    for _, cuts in groupby(plan.views, key=_resizing):
        first, *others = cuts  # tiles of one picture are cut from one resized canvas
        resized = _resized(image, first, resample, fill)
        for view in (first, *others):
            shown = Image.new("RGB", view.size, fill)
            shown.paste(resized, view.resized_at)
            yield np.asarray(shown)


def _resizing(view: View) -> tuple[object, ...]:
    return view.region, view.canvas, view.region_at, view.resized


def _resized(
    image: Image.Image, view: View, resample: Image.Resampling, fill: Colour
) -> Image.Image:
    canvas = image
    if view.canvas != image.size:
        canvas = Image.new("RGB", view.canvas, fill)
        canvas.paste(image.crop(view.region), view.region_at)
    return canvas.resize(view.resized, resample)
