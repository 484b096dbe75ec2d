"""What processors do with pictures: bring them to the size of a model's towers, as bytes."""

from typing import Any

from jaxtyping import UInt8
from PIL import Image
from torch import Tensor
from transformers.image_transforms import to_pil_image
from transformers.image_utils import make_flat_list_of_images
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from isthmus.data.images import as_seen
from isthmus.geometry.resize import Resize, ResizeStrategy
from isthmus.modeling.configuration_vision import IsthmusVisionConfig
from isthmus.vision.views import padding_colour, views


def image_processor_for(config: IsthmusVisionConfig) -> ViTImageProcessorPil:
    """Returns the image processor that holds a configuration's size and interpolation."""
    width, height = config.resize.size
    return ViTImageProcessorPil(
        size={"height": height, "width": width},
        resample=config.image_resample,
        image_mean=config.image_mean,
        image_std=config.image_std,
        do_resize=True,
        do_rescale=False,
        do_normalize=False,
        do_convert_rgb=True,
    )


def resize_of(image_processor: Any, strategy: ResizeStrategy, max_tiles: int | None) -> Resize:
    """Returns how a picture is brought to the size that an image processor holds."""
    size = image_processor.size
    pixels = (int(size["width"]), int(size["height"]))
    return Resize(strategy=strategy, size=pixels, max_tiles=max_tiles)


def views_of(
    image: Image.Image, resize: Resize, image_processor: Any
) -> UInt8[Tensor, "images 3 height width"]:
    """Returns the views of a picture as bytes: turned upright, in colour, resized.

    Differs: transformers' own processors know one view; they crop where a tower was trained on
        crops (CLIP). Here that is a choice, `image_resize`.
    """
    seen = as_seen(image)
    return views(
        seen,
        resize.plan(*seen.size),
        resample=int(image_processor.resample),
        fill=padding_colour(image_processor.image_mean),
    )


def pictures(images: Any) -> list[Image.Image]:
    """Returns images of any of transformers' forms, nested or not, as Pillow's."""
    flat: list[Any] = make_flat_list_of_images(images)  # type: ignore[assignment]
    return [image if isinstance(image, Image.Image) else to_pil_image(image) for image in flat]
