"""Image files as the views that a model is shown of them."""

from collections.abc import Sequence
from pathlib import Path

from jaxtyping import UInt8
from torch import Tensor

from isthmus.data.images import opened, upright_size
from isthmus.data.processor import ImageProcessor


def read_views(path: Path, processor: ImageProcessor) -> UInt8[Tensor, "images 3 height width"]:
    """Returns the views of an image file at the size of the vision tower.

    Raises:
        Fault: the file is no image that Pillow can read.
    """
    with opened(path, f"the image {path}") as image:
        return processor.views(image)


def num_views(paths: Sequence[Path], processor: ImageProcessor) -> list[int]:
    """Returns as how many views each image file is shown; no pixel is decoded for it.

    Raises:
        Fault: a file is no image that Pillow can read.
    """
    if processor.max_tiles is None:
        return [1] * len(paths)
    return [processor.num_views(*upright_size(path)) for path in paths]
