"""Image files that cannot be read are one error; those on their side are measured upright."""

from pathlib import Path

import pytest
from PIL import Image

from isthmus.data.images import readable, upright_size
from tests.tiny import tiny_image


@pytest.mark.parametrize("fault", [OSError, SyntaxError, ValueError, Image.DecompressionBombError])
def test_whatever_pillow_raises_becomes_one_error(fault: type[Exception]) -> None:
    reason = r"the image a\.png cannot be read: torn"
    with pytest.raises(ValueError, match=reason), readable("the image a.png"):
        raise fault("torn")


def test_a_fault_of_ours_is_not_taken_for_a_damaged_file() -> None:
    with pytest.raises(KeyError), readable("the image a.png"):
        raise KeyError


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_size_is_that_of_the_picture_as_it_is_seen(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    tiny_image(width=40, height=24).save(tmp_path / "a.jpg", exif=exif)
    assert upright_size(tmp_path / "a.jpg") == ((40, 24) if orientation < 5 else (24, 40))


def test_a_file_without_a_size_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"absent\.png cannot be read"):
        upright_size(tmp_path / "absent.png")
