"""What a stage learns from, with the tower's outputs from the store and from pixels."""

from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from rich.console import Console

from isthmus.axes import Batch
from isthmus.training.course import Whole
from isthmus.training.data import FileData
from isthmus.training.feature_formats import FeatureDtype
from isthmus.training.stage import Part, Schedule, Stage
from isthmus.training.stage_data import StageData, open_data
from tests.tiny import tiny_image, tiny_model
from tests.tiny_data import write_data

TILES: dict[str, Any] = {"image_resize": "tiles", "max_tiles": 4}


def opened(tmp_path: Path, **choices: Any) -> tuple[Any, StageData]:
    """Opens eight samples, of which one shows a picture of five views, the others of three."""
    model, processor = tiny_model(tmp_path, connector="mlp", **TILES)
    file = write_data(tmp_path / "data", 8)
    tiny_image(0, 120, 30).save(tmp_path / "data/images/0-0.png")
    stage = Stage(
        name="tiles",
        train=(Part(name="connector", lr=1e-3),),
        data=FileData(file=file, image_root=file.parent),
        schedule=Schedule(batch_size=4, steps=1),
        **choices,
    )
    data = open_data(
        stage,
        model,
        processor,
        tower="of the test",
        accelerator=Accelerator(cpu=True),
        console=Console(quiet=True),
    )
    return model, data


def batch(data: StageData, indices: list[int]) -> Batch:
    assert isinstance(data.train, Whole)
    return data.train.dataset.batch(indices)


@pytest.mark.parametrize("on_disk", ["as computed", "bfloat16", "int8"])
@torch.no_grad()
def test_stored_tiles_are_what_the_tower_sees_of_them(
    tmp_path: Path, on_disk: FeatureDtype
) -> None:
    model, plain = opened(tmp_path)
    _, stored = opened(tmp_path, feature_store=True, feature_dtype=on_disk)
    assert stored.store is not None
    # Five views of one picture, and three of each of the others, which are twice as wide as high.
    assert (stored.store.images, stored.store.views) == (8, 26)
    order = [2, 0, 1]  # two pictures, the one of five views, and one
    pixels, features = (batch(data, order) for data in (plain, stored))
    assert pixels.pixel_values is not None
    assert features.pixel_values is None
    assert torch.equal(features.input_ids, pixels.input_ids)
    seen = model.encode_images(pixels.pixel_values).states
    assert len(seen) == 14
    leave = stored.store.parity.tolerance * seen.abs().max()
    torch.testing.assert_close(features.patch_features, seen, rtol=0, atol=leave.item())


def test_a_limit_in_gib_reaches_the_store(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"all stores together may take 9.99e-07 GiB"):
        opened(tmp_path, feature_store=True, feature_store_gib=1e-6)
