"""What a vision tower expects of an image: its size, and the mean and spread of its pixels.

The processor resizes, the tower normalises. So images travel as bytes, a quarter of the size, and
towers that want different normalisation can share one batch of pixels.
"""

from dataclasses import dataclass
from typing import Any, final

from transformers import AutoImageProcessor, PreTrainedConfig


@final
@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """How images are made ready for one tower."""

    image_size: int
    """Height and width of the square image, pixels."""
    mean: tuple[float, ...]
    """Mean of each channel, on the scale of 0 to 1."""
    std: tuple[float, ...]
    """Standard deviation of each channel, on the scale of 0 to 1."""
    resample: int
    """Pillow's number of the interpolation that resizes."""


def read_preprocessing(vision: str, config: PreTrainedConfig) -> Preprocessing:
    """Reads a tower's preprocessing from the image processor saved beside it.

    Args:
        vision: local folder or hub id of the tower.
        config: the tower's own configuration (not that of a model around it).

    Raises:
        ValueError: there is no image processor, or it asks for something that is not done here.
    """
    try:
        stock = AutoImageProcessor.from_pretrained(vision, backend="pil")
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{vision!r} holds no image processor ({error}); save one beside the tower with "
            "image_processor.save_pretrained, for the mean and spread it was trained with"
        ) from error
    if not getattr(stock, "do_rescale", True):
        raise ValueError(
            f"the image processor of {vision!r} does not rescale pixels; expected do_rescale=True, "
            "since normalisation works on values of 0 to 1"
        )
    normalized = getattr(stock, "do_normalize", True)
    return Preprocessing(
        image_size=_image_size(stock, config, vision),
        mean=tuple(stock.image_mean) if normalized else (0.0, 0.0, 0.0),
        std=tuple(stock.image_std) if normalized else (1.0, 1.0, 1.0),
        resample=int(stock.resample),
    )


def _image_size(stock: Any, config: PreTrainedConfig, vision: str) -> int:
    """Returns the side of what the tower saw in training: the crop, else the resized image."""
    crop = stock.crop_size if getattr(stock, "do_center_crop", False) else None
    for size in (crop, stock.size):
        if size is not None and "height" in size and "width" in size:
            if size["height"] != size["width"]:
                raise ValueError(f"{vision!r} wants images of {dict(size)}; expected a square")
            return int(size["height"])
    return int(config.image_size)
