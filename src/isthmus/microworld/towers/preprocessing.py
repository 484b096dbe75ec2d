"""The image processor that is saved beside a vision tower."""

from pathlib import Path

from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

from isthmus.microworld.scene import CANVAS
from isthmus.microworld.towers.pixels import PIXEL_MEAN, PIXEL_STD


def save_image_processor(folder: Path) -> None:
    """Writes preprocessor_config.json: 64x64, values from -1 to 1."""
    SiglipImageProcessorPil(
        size={"height": CANVAS, "width": CANVAS},
        image_mean=list(PIXEL_MEAN),
        image_std=list(PIXEL_STD),
    ).save_pretrained(folder)
