"""How fast JPEG files become pixels for a tower, beside the library's own processor.

`python -m benchmarks.image_loading --output FILE`

Both decode the same files, 640 x 480 pixels of smooth colour under fine noise, and bring them to
224 x 224 on one core. Ours stay bytes, which the tower normalises; the library's become floating
point numbers on the way. The speed-up is the median of the ratios over the rounds;
`max_difference` is between our bytes and what the library resizes, on the scale of 0 to 255.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, final

import numpy as np
import torch
import tyro
from PIL import Image, ImageFilter
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from benchmarks.outcome import publish
from benchmarks.side_by_side import compare
from isthmus.data.images import opened
from isthmus.geometry.resize import Resize
from isthmus.modeling.pictures import views_of

NUM, WIDTH, HEIGHT, SIZE = 16, 640, 480, 224


@final
@dataclass(frozen=True)
class Options:
    """Measure the loading of images."""

    output: Path | None = None
    """JSON file that gets the numbers, too."""
    repetitions: int = 15
    """Rounds over all files; one more warms up."""


def main(options: Options) -> None:
    """Measures both and publishes the numbers."""
    torch.set_num_threads(1)
    with TemporaryDirectory() as folder:
        files = [written(Path(folder) / f"{number}.jpg", number) for number in range(NUM)]
        processor = ViTImageProcessorPil(
            size={"height": SIZE, "width": SIZE},
            resample=3,
            image_mean=[0.5] * 3,
            image_std=[0.5] * 3,
            do_convert_rgb=True,
        )
        rounds = compare(
            {
                "stock": partial(each, files, partial(stock, processor)),
                "ours": partial(each, files, partial(ours, processor)),
            },
            base="ours",
            repetitions=options.repetitions,
        )
        exact = partial(stock, processor, do_rescale=False, do_normalize=False)
        difference = max(
            (exact(file).float() - ours(processor, file).float()).abs().max().item()
            for file in files
        )
    publish(
        {
            "speedup": median(rounds["stock"].clock),
            "speedup_processor": median(rounds["stock"].processor),
            "max_difference": difference,
            "repetitions": options.repetitions,
        },
        options.output,
        command=f"python -m benchmarks.image_loading --repetitions {options.repetitions}",
    )


def written(path: Path, seed: int) -> Path:
    """Writes a picture of smooth colour under fine noise."""
    chance = np.random.default_rng(seed)

    def noise(width: int, height: int) -> Image.Image:
        return Image.fromarray(chance.integers(0, 256, (height, width, 3), dtype=np.uint8))

    smooth = noise(WIDTH // 8, HEIGHT // 8).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
    fine = noise(WIDTH, HEIGHT).filter(ImageFilter.GaussianBlur(1))
    Image.blend(smooth, fine, 0.3).save(path, quality=90)
    return path


def each(files: list[Path], load: Any) -> None:
    """Loads every file."""
    for file in files:
        load(file)


def stock(processor: Any, file: Path, **choices: bool) -> Any:
    """Returns the pixels as the library makes them."""
    with Image.open(file) as image:
        return processor(images=image, return_tensors="pt", **choices)["pixel_values"]


def ours(processor: Any, file: Path) -> Any:
    """Returns the pixels as they travel here."""
    resize = Resize(strategy="naive", size=(SIZE, SIZE), max_tiles=None)
    with opened(file, str(file)) as image:
        return views_of(image, resize, processor)


if __name__ == "__main__":
    main(tyro.cli(Options, prog="python -m benchmarks.image_loading"))
