"""Images of any kind are seen as a person sees them; what cannot be read is one error."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from isthmus.data.faults import Fault
from isthmus.data.images import (
    FORMATS,
    as_seen,
    check_image,
    opened,
    readable,
    upright_size,
)
from tests.tiny import tiny_image


@pytest.mark.parametrize(
    "fault", [OSError, RuntimeError, MemoryError, Image.DecompressionBombError]
)
def test_whatever_pillow_raises_becomes_one_error(fault: type[Exception]) -> None:
    reason = r"the image a\.png cannot be read: torn"
    with pytest.raises(Fault, match=reason), readable("the image a.png"):
        raise fault("torn")


def test_a_fault_of_ours_is_not_taken_for_a_damaged_file(tmp_path: Path) -> None:
    tiny_image().save(tmp_path / "a.png")
    with pytest.raises(KeyError), opened(tmp_path / "a.png", "the image"):
        raise KeyError


def test_a_program_is_no_image_whatever_it_is_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pillow would hand PostScript to Ghostscript, which runs it."""
    started: list[object] = []
    monkeypatch.setattr("subprocess.check_call", lambda *words, **_: started.append(words))
    (tmp_path / "cat.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n\n")
    with pytest.raises(Fault) as caught:
        check_image(tmp_path / "cat.png")
    assert caught.value.reason == "not_an_image"
    assert not started


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_every_format_is_read(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a"
    Image.new("RGB", (16, 8), (200, 30, 30)).save(path, format=name)
    assert np.abs(seen(path).astype(int) - [200, 30, 30]).max() <= 16


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_a_picture_with_illegible_exif_data_is_seen_as_it_lies(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    tiny_image(width=40, height=24).save(tmp_path / "a.jpg", exif=exif)
    whole = (tmp_path / "a.jpg").read_bytes()
    start = whole.index(b"Exif\x00\x00") + 6
    for noise in (b"\xff" * 8, b"II*\x00\xff\xff\xff\xff"):
        (tmp_path / "b.jpg").write_bytes(whole[:start] + noise + whole[start + len(noise) :])
        check_image(tmp_path / "b.jpg")
        assert seen(tmp_path / "b.jpg").shape == (24, 40, 3)
        assert upright_size(tmp_path / "b.jpg") == (40, 24)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_size_is_that_of_the_picture_as_it_is_seen(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    tiny_image(width=40, height=24).save(tmp_path / "a.jpg", exif=exif)
    assert upright_size(tmp_path / "a.jpg") == ((40, 24) if orientation < 5 else (24, 40))


def test_a_file_without_a_size_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"there is no image .*absent\.png"):
        upright_size(tmp_path / "absent.png")


def seen(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        shown = as_seen(image)
    assert shown.mode == "RGB"
    return np.asarray(shown)


@pytest.mark.parametrize("mode", ["RGB", "L", "1", "P", "CMYK", "LA", "RGBA", "YCbCr"])
def test_every_mode_is_seen_in_its_colours(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "a.tiff"
    red = Image.new("RGB", (9, 5), (255, 0, 0))
    red.convert(mode).save(path)
    expected = np.asarray(red.convert("L" if mode in ("L", "1", "LA") else "RGB").convert("RGB"))
    if mode == "1":  # dithered
        assert 0 < seen(path).mean() < 255
        return
    assert np.abs(seen(path).astype(int) - expected.astype(int)).max() <= 2


@pytest.mark.parametrize("name", ["a.png", "a.tiff"])
def test_sixteen_bits_keep_their_upper_eight(tmp_path: Path, name: str) -> None:
    levels = np.arange(0, 65536, 257, dtype=np.uint16).reshape(16, 16)
    Image.fromarray(levels).save(tmp_path / name)
    assert np.array_equal(seen(tmp_path / name)[..., 0], np.arange(256).reshape(16, 16))


def test_what_is_transparent_is_white(tmp_path: Path) -> None:
    hidden = Image.new("RGBA", (4, 2), (0, 0, 0, 0))
    hidden.putpixel((0, 0), (0, 0, 255, 255))
    for name in ("a.png", "a.webp"):
        hidden.save(tmp_path / name, lossless=True)
        assert seen(tmp_path / name)[0].tolist() == [[0, 0, 255], *[[255] * 3] * 3]
    palette = Image.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.putpixel((1, 0), 1)
    palette.save(tmp_path / "p.png", transparency=1)
    assert seen(tmp_path / "p.png")[0].tolist() == [[10, 20, 30], [255, 255, 255]]


def test_of_an_animation_the_first_frame_is_seen(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    for name in ("a.gif", "a.png", "a.webp"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], lossless=True)
        assert seen(tmp_path / name)[0, 0].tolist() == pytest.approx([255, 0, 0], abs=3)


def test_a_picture_on_its_side_is_turned(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the top of the scene lies on the right
    lying = Image.new("RGB", (40, 24))
    lying.paste((255, 0, 0), (30, 0, 40, 24))
    lying.save(tmp_path / "a.png", exif=exif)
    upright = seen(tmp_path / "a.png")
    assert upright.shape == (40, 24, 3)
    assert (upright[30:] == [255, 0, 0]).all()
    assert not upright[:30].any()


@pytest.mark.parametrize("size", [(1, 1), (3000, 1), (1, 3000)])
def test_extreme_shapes_are_images_too(tmp_path: Path, size: tuple[int, int]) -> None:
    Image.new("RGB", size, "green").save(tmp_path / "a.png")
    check_image(tmp_path / "a.png")
    assert seen(tmp_path / "a.png").shape == (size[1], size[0], 3)


def test_each_damage_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    tiny_image(width=200, height=200).save(path)
    whole = path.read_bytes()
    damages = {
        "image_empty": b"",
        "not_an_image": b"<html>404</html>",
        "image_damaged": whole[: len(whole) // 2],
    }
    for reason, content in damages.items():
        path.write_bytes(content)
        with pytest.raises(Fault) as caught:
            check_image(path)
        assert caught.value.reason == reason
        assert str(path) in str(caught.value)
    path.write_bytes(whole)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 200 * 200 // 2 - 1)
    with pytest.raises(Fault) as caught:
        check_image(path)
    assert caught.value.reason == "image_too_large"
