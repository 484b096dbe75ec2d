"""Views of pictures against plain Pillow, transformers' processors, and their own boxes."""

from typing import Any, get_args

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil
from transformers.models.llava_next.image_processing_pil_llava_next import (
    LlavaNextImageProcessorPil,
)

from isthmus.geometry.resize import Resize, ResizeStrategy
from isthmus.geometry.view import Size
from isthmus.vision.views import padding_colour, views
from tests.tiny import tiny_image

BICUBIC, BILINEAR = Image.Resampling.BICUBIC, Image.Resampling.BILINEAR
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
GREY = (122, 116, 104)
SIZES = [(40, 24), (24, 40), (37, 90), (91, 36), (64, 64), (63, 64), (200, 131), (7, 3), (1, 1)]
AS_BYTES: dict[str, Any] = {"do_rescale": False, "do_normalize": False, "resample": BICUBIC}


def seen(strategy: ResizeStrategy, image: Image.Image, size: Size = (64, 64)) -> torch.Tensor:
    rule = Resize(strategy=strategy, size=size, max_tiles=6 if strategy == "tiles" else None)
    return views(image, rule.plan(*image.size), resample=BICUBIC, fill=GREY)


def as_tensor(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def stock(processor: Any, image: Image.Image) -> torch.Tensor:
    pixels = torch.as_tensor(processor(image, return_tensors="pt")["pixel_values"])
    return pixels.flatten(end_dim=-4).to(torch.uint8)


@pytest.mark.parametrize("size", SIZES)
def test_naive_stretches(size: Size) -> None:
    image = tiny_image(1, *size)
    (view,) = seen("naive", image)
    assert torch.equal(view, as_tensor(image.resize((64, 64), BICUBIC)))
    (wide,) = seen("naive", image, (80, 48))
    assert torch.equal(wide, as_tensor(image.resize((80, 48), BICUBIC)))


@pytest.mark.parametrize("size", SIZES)
def test_crop_is_what_clip_sees(size: Size) -> None:
    image = tiny_image(2, *size)
    short = min(size)
    wide, high = (64 * side // short for side in size)
    left, top = (wide - 64) // 2, (high - 64) // 2
    cut = image.resize((wide, high), BICUBIC).crop((left, top, left + 64, top + 64))
    assert torch.equal(seen("crop", image)[0], as_tensor(cut))
    clip = CLIPImageProcessorPil(size={"shortest_edge": 64}, crop_size=64, **AS_BYTES)
    assert torch.equal(seen("crop", image), stock(clip, image))


@pytest.mark.parametrize("size", SIZES)
def test_letterbox_is_what_llava_sees(size: Size) -> None:
    image = tiny_image(3, *size)
    long = max(size)
    square = Image.new("RGB", (long, long), GREY)
    square.paste(image, ((long - size[0]) // 2, (long - size[1]) // 2))
    assert torch.equal(seen("letterbox", image)[0], as_tensor(square.resize((64, 64), BICUBIC)))
    llava = LlavaImageProcessorPil(
        size={"height": 64, "width": 64},
        image_mean=CLIP_MEAN,
        do_center_crop=False,
        do_pad=True,
        **AS_BYTES,
    )
    assert torch.equal(seen("letterbox", image), stock(llava, image))


@pytest.mark.parametrize(
    ("size", "resized"), [((40, 24), (64, 39)), ((24, 40), (39, 64)), ((1000, 5), (64, 1))]
)
def test_corner_pad_leaves_padding_right_and_below(size: Size, resized: Size) -> None:
    image = tiny_image(4, *size)
    square = Image.new("RGB", (64, 64), GREY)
    square.paste(image.resize(resized, BICUBIC), (0, 0))
    assert torch.equal(seen("corner_pad", image)[0], as_tensor(square))


@pytest.mark.parametrize("size", SIZES)
def test_tiles_are_what_llava_next_sees(size: Size) -> None:
    """It knows no grid of one tile, and pads in black; so the grid is handed to it."""
    image = tiny_image(5, *size)
    plan = Resize(strategy="tiles", size=(32, 32), max_tiles=6).plan(*size)
    rows, columns = plan.tile_grid
    ours = views(image, plan, resample=BICUBIC, fill=(0, 0, 0))
    if not rows:
        assert torch.equal(ours[0], as_tensor(image.resize((32, 32), BICUBIC)))
        return
    llava_next = LlavaNextImageProcessorPil(
        size={"height": 32, "width": 32},
        crop_size=32,
        image_grid_pinpoints=[[32 * rows, 32 * columns]],
        **AS_BYTES,
    )
    assert torch.equal(ours, stock(llava_next, image))


def test_tiles_are_cut_from_one_resized_picture() -> None:
    image = tiny_image(6, 100, 60)  # 2 x 3 tiles of 32 hold 96 x 58 pixels of it
    canvas = Image.new("RGB", (96, 64), GREY)
    canvas.paste(image.resize((96, 58), BICUBIC), (0, 3))
    expected = [image.resize((32, 32), BICUBIC)] + [
        canvas.crop((32 * column, 32 * row, 32 * column + 32, 32 * row + 32))
        for row in range(2)
        for column in range(3)
    ]
    shown = seen("tiles", image, (32, 32))
    assert torch.equal(shown, torch.stack([as_tensor(view) for view in expected]))


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(get_args(ResizeStrategy)),
    st.tuples(st.integers(24, 90), st.integers(24, 90)),
    st.tuples(st.integers(1, 240), st.integers(1, 240)),
    st.data(),
)
def test_a_rectangle_is_found_where_its_box_is_mapped(
    strategy: ResizeStrategy, target: Size, size: Size, data: st.DataObject
) -> None:
    """Exactly those pixels of a view are red whose centres lie in the box, within a tenth."""
    width, height = size
    x0, y0 = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    x1, y1 = data.draw(st.integers(x0 + 1, width)), data.draw(st.integers(y0 + 1, height))
    image = Image.new("RGB", size)
    image.paste((255, 0, 0), (x0, y0, x1, y1))
    rule = Resize(strategy=strategy, size=target, max_tiles=6 if strategy == "tiles" else None)
    plan = rule.plan(width, height)
    pixels = views(image, plan, resample=BILINEAR, fill=(0, 0, 0))
    found = 0
    for view, shown in zip(plan.views, pixels, strict=True):
        is_red = (shown[0] > 127).numpy()
        box = view.to_view((x0, y0, x1, y1))
        if box is None:
            assert not is_red.any()
            continue
        # Where no pixel is wholly red, half of red is not the edge: of a sliver, or where the cut
        # runs through an edge that is blurred because the picture is enlarged.
        is_sliver = min(box[2] - box[0], box[3] - box[1]) < 3
        if is_sliver or (shown[0].max() < 250 and max(view.x_scale, view.y_scale) > 1):
            continue
        found += 1
        for axis, across in ((0, 0), (1, 1)):
            profile = is_red.any(axis=across)
            centres = np.arange(len(profile)) + 0.5
            inside = (box[axis] + 0.1 < centres) & (centres < box[axis + 2] - 0.1)
            outside = (centres < box[axis] - 0.1) | (box[axis + 2] + 0.1 < centres)
            assert profile[inside].all()
            assert not profile[outside].any()
    assume(found)


@pytest.mark.parametrize("strategy", get_args(ResizeStrategy))
@pytest.mark.parametrize("size", [(1, 20_000), (20_000, 1), (3, 5000)])
def test_a_strip_is_seen(strategy: ResizeStrategy, size: Size) -> None:
    shown = seen(strategy, Image.new("RGB", size, (255, 0, 0)))
    assert shown.shape[1:] == (3, 64, 64)
    assert (shown == torch.tensor([255, 0, 0])[:, None, None]).all(1).any()


def test_views_are_bytes_of_a_rectangle_and_the_picture_stays_as_it_was() -> None:
    image = tiny_image(7)
    before = image.tobytes()
    shown = seen("letterbox", image, (48, 80))
    assert shown.shape == (1, 3, 80, 48)
    assert shown.dtype == torch.uint8
    assert shown.is_contiguous()
    assert image.tobytes() == before


@pytest.mark.parametrize(
    ("mean", "colour"),
    [(CLIP_MEAN, GREY), ((0.5,) * 3, (127,) * 3), ((0.485, 0.456, 0.406), (123, 116, 103))],
)
def test_padding_has_the_mean_colour_rounded_down(
    mean: tuple[float, ...], colour: tuple[int, ...]
) -> None:
    assert padding_colour(mean) == colour


def test_a_plan_for_another_size_and_a_picture_in_grey_are_refused() -> None:
    plan = Resize(strategy="naive", size=(8, 8)).plan(24, 40)
    with pytest.raises(ValueError, match="40 x 24 pixels, the plan is for 24 x 40"):
        views(tiny_image(), plan, resample=BICUBIC, fill=GREY)
    with pytest.raises(ValueError, match="the picture is in L; expected RGB"):
        views(tiny_image().convert("L"), plan, resample=BICUBIC, fill=GREY)
