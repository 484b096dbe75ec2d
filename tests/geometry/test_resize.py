"""Plans of every strategy: their numbers, their boxes there and back, their tiles."""

import math
import random
from typing import get_args

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from transformers.image_processing_utils import select_best_resolution

from isthmus.geometry.boxes import Box, format_box, intersection, parse_boxes, rescale
from isthmus.geometry.resize import Resize, ResizeStrategy
from isthmus.geometry.view import Size, View

STRATEGIES = get_args(ResizeStrategy)
sides = st.one_of(st.integers(1, 40), st.integers(1, 4000), st.just(65_535))
targets = st.tuples(st.integers(1, 400), st.integers(1, 400))


def resize(strategy: ResizeStrategy, size: Size = (336, 336), max_tiles: int = 6) -> Resize:
    tiles = max_tiles if strategy == "tiles" else None
    return Resize(strategy=strategy, size=size, max_tiles=tiles)


def only(strategy: ResizeStrategy, picture: Size, size: Size = (336, 336)) -> View:
    (view,) = resize(strategy, size).plan(*picture).views
    return view


@st.composite
def boxes_within(draw: st.DrawFn, bounds: Box) -> Box:
    """A box inside of another, at least a thousandth of it wide and high."""
    left, right = sorted(draw(st.lists(st.integers(0, 1000), min_size=2, max_size=2, unique=True)))
    top, bottom = sorted(draw(st.lists(st.integers(0, 1000), min_size=2, max_size=2, unique=True)))
    width, height = bounds[2] - bounds[0], bounds[3] - bounds[1]
    return (
        bounds[0] + left / 1000 * width,
        bounds[1] + top / 1000 * height,
        bounds[0] + right / 1000 * width,
        bounds[1] + bottom / 1000 * height,
    )


@settings(deadline=None)
@given(st.sampled_from(STRATEGIES), targets, sides, sides, st.data())
def test_a_visible_box_comes_back_from_every_view(
    strategy: ResizeStrategy, size: Size, width: int, height: int, data: st.DataObject
) -> None:
    for view in resize(strategy, size).plan(width, height).views:
        box = data.draw(boxes_within(view.visible))
        mapped = view.to_view(box)
        assert mapped is not None
        back = view.from_view(mapped)
        assert back == pytest.approx(box, rel=1e-6, abs=1e-6 * max(width, height))
        shares = view.to_shares(box, "view")
        assert shares is not None
        assert all(0 <= share <= 1 for share in shares)
        assert view.from_shares(shares, "view") == pytest.approx(back, rel=1e-6, abs=1e-6)


@settings(deadline=None)
@given(st.sampled_from(STRATEGIES), targets, sides, sides, st.data())
def test_a_box_is_cut_to_what_is_visible(
    strategy: ResizeStrategy, size: Size, width: int, height: int, data: st.DataObject
) -> None:
    """Boxes from anywhere on the picture, and beyond its edges."""
    box = data.draw(boxes_within((-0.2 * width, -0.2 * height, 1.2 * width, 1.2 * height)))
    for view in resize(strategy, size).plan(width, height).views:
        seen = intersection(box, view.visible)
        mapped = view.to_view(box)
        if seen is None or mapped is None:
            # What is left of a box may be narrower than numbers can tell.
            left_over = seen or (mapped and view.from_view(mapped)) or (0, 0, 0, 0)
            least = min(left_over[2] - left_over[0], left_over[3] - left_over[1])
            assert least <= 1e-6 * max(width, height)
        else:
            assert 0 <= mapped[0] < mapped[2] <= view.size[0]
            assert 0 <= mapped[1] < mapped[3] <= view.size[1]
            off = 1e-6 * max(width, height)
            assert view.from_view(mapped) == pytest.approx(seen, rel=1e-6, abs=off)


@settings(deadline=None)
@given(st.sampled_from(STRATEGIES), targets, sides, sides)
def test_every_view_shows_something_and_no_shape_is_bent_by_more_than_rounding(
    strategy: ResizeStrategy, size: Size, width: int, height: int
) -> None:
    for view in resize(strategy, size).plan(width, height).views:
        assert view.size == size
        left, top, right, bottom = view.visible
        assert 0 <= left < right <= width
        assert 0 <= top < bottom <= height
        if view.resized == size and view.canvas == (width, height):
            continue  # stretched
        # Of a canvas or a resized picture only one edge is rounded, by less than a pixel.
        ratio = view.x_scale / view.y_scale
        slack = 1 / min(view.resized) + 1 / min(view.canvas)
        assert abs(math.log(ratio)) <= 2 * slack or min(view.resized) == 1


@settings(deadline=None)
@given(st.sampled_from(["naive", "letterbox", "corner_pad"]), targets, sides, sides)
def test_all_of_the_picture_is_visible_unless_it_is_cropped(
    strategy: ResizeStrategy, size: Size, width: int, height: int
) -> None:
    visible = only(strategy, (width, height), size).visible
    assert visible == pytest.approx((0, 0, width, height), abs=1e-6 * max(width, height))


@settings(deadline=None)
@given(sides, sides, targets, st.integers(2, 12))
def test_tiles_show_the_whole_picture_once(
    width: int, height: int, size: Size, max_tiles: int
) -> None:
    plan = resize("tiles", size, max_tiles).plan(width, height)
    whole, *tiles = plan.views
    assert whole == only("naive", (width, height), size)
    assert len(tiles) == plan.tile_grid[0] * plan.tile_grid[1] <= max_tiles
    if tiles:
        boxes = [tile.visible for tile in tiles]
        area = sum((box[2] - box[0]) * (box[3] - box[1]) for box in boxes)
        assert area == pytest.approx(width * height)
        overlaps = [intersection(a, b) for i, a in enumerate(boxes) for b in boxes[:i]]
        for common in filter(None, overlaps):
            assert min(common[2] - common[0], common[3] - common[1]) < 1e-6 * max(width, height)
        assert [min(b[1] for b in boxes), max(b[3] for b in boxes)] == pytest.approx([0, height])


@settings(deadline=None)
@given(st.sampled_from(STRATEGIES), targets, sides, sides)
def test_the_number_of_views_is_known_from_the_size(
    strategy: ResizeStrategy, size: Size, width: int, height: int
) -> None:
    rule = resize(strategy, size)
    assert rule.num_views(width, height) == len(rule.plan(width, height).views)


@settings(deadline=None)
@given(st.sampled_from(STRATEGIES), sides, sides)
def test_nothing_is_blown_up_to_many_times_its_size(
    strategy: ResizeStrategy, width: int, height: int
) -> None:
    """A strip of 1 x 65,535 pixels must not ask for gigabytes."""
    for view in resize(strategy).plan(width, height).views:
        most = 8.1 * max(width * height, 65_535)
        assert view.canvas[0] * view.canvas[1] <= most or view.canvas == (width, height)
        assert view.resized[0] * view.resized[1] <= 11 * 336 * 336


def test_the_numbers_of_a_wide_picture() -> None:
    """500 x 333 pixels, an odd difference of 167, seen in a square of 336."""
    assert only("naive", (500, 333)).resized == (336, 336)

    crop = only("crop", (500, 333))
    assert (crop.resized, crop.resized_at) == ((504, 336), (-84, 0))

    letterbox = only("letterbox", (500, 333))
    assert (letterbox.canvas, letterbox.region_at) == ((500, 500), (0, 83))
    assert letterbox.y_offset == pytest.approx(83 * 336 / 500)

    corner = only("corner_pad", (500, 333))
    assert (corner.resized, corner.resized_at) == ((336, 224), (0, 0))
    assert corner.y_scale == 224 / 333  # not 336 / 500: the rounded edge counts


def test_the_numbers_of_a_tall_picture() -> None:
    assert only("crop", (333, 500)).resized_at == (0, -84)
    assert only("letterbox", (333, 500)).region_at == (83, 0)
    assert only("corner_pad", (333, 500)).resized == (224, 336)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_one_pixel_becomes_all_of_the_view(strategy: ResizeStrategy) -> None:
    (view,) = resize(strategy).plan(1, 1).views
    assert view.to_view((0, 0, 1, 1)) == (0, 0, 336, 336)


@pytest.mark.parametrize("strategy", ["letterbox", "corner_pad"])
def test_a_long_thin_picture_keeps_a_pixel_of_width(strategy: ResizeStrategy) -> None:
    view = only(strategy, (3, 5000))
    assert view.resized == (1, 336)
    left, top, right, bottom = view.to_view((0, 0, 3, 5000)) or (0, 0, 0, 0)
    assert (right - left, top, bottom) == (1, 0, 336)
    assert left == (0 if strategy == "corner_pad" else 167)


def test_of_a_long_picture_the_crop_shows_the_middle() -> None:
    assert only("crop", (20, 5001)).visible == pytest.approx((0, 2490.5, 20, 2510.5), abs=0.1)
    below = only("crop", (20, 160))  # eight times as high as wide: not yet cut beforehand
    assert (below.canvas, below.resized) == ((20, 160), (336, 2688))
    above = only("crop", (20, 162))
    assert (above.region, above.resized) == ((0, 1, 20, 161), (336, 2688))


def test_the_target_need_not_be_square() -> None:
    size = (400, 200)
    assert only("crop", (300, 300), size).resized_at == (0, -100)
    assert only("letterbox", (300, 300), size).canvas == (600, 300)
    assert only("letterbox", (300, 100), size).canvas == (300, 150)
    assert only("corner_pad", (300, 300), size).resized == (200, 200)
    assert resize("tiles", size).plan(800, 300).tile_grid == (2, 2)


@pytest.mark.parametrize(
    ("picture", "grid"),
    [
        ((200, 300), (0, 0)),  # fits into one tile
        ((2000, 2000), (2, 2)),
        ((672, 336), (1, 2)),
        ((336, 673), (3, 1)),
        ((2016, 672), (1, 3)),  # 2 x 3 keeps no more of it, and pads more
        ((1000, 667), (2, 3)),
        ((60_000, 100), (1, 6)),
        ((65_535, 1), (0, 0)),  # of which no grid keeps anything
    ],
)
def test_the_grid_of_tiles(picture: Size, grid: tuple[int, int]) -> None:
    plan = resize("tiles").plan(*picture)
    assert plan.tile_grid == grid
    assert resize("tiles").num_views(*picture) == 1 + grid[0] * grid[1]


def test_tiles_are_chosen_as_transformers_does() -> None:
    grids = [(r, c) for r in range(1, 7) for c in range(1, 7) if r * c <= 6]
    canvases = [(336 * r, 336 * c) for r, c in grids]
    draw = random.Random(0)
    for _ in range(500):
        width, height = draw.randint(50, 3000), draw.randint(50, 3000)
        theirs = grids[canvases.index(select_best_resolution((height, width), canvases))]
        ours = resize("tiles").tile_grid(width, height)
        assert ours == ((0, 0) if theirs == (1, 1) else theirs), (width, height)


def test_surviving_pixels_are_counted_in_whole_numbers() -> None:
    """Of neighbouring sizes transformers takes one for narrower: its ratio is rounded."""
    canvases = [(672, 672), (1008, 672)]
    assert int(1133 * (672 / 1133)) == 671
    assert select_best_resolution((1133, 1132), canvases) == (1008, 672)
    assert select_best_resolution((1134, 1133), canvases) == (672, 672)
    assert resize("tiles").tile_grid(1132, 1133) == (3, 2)
    assert resize("tiles").tile_grid(1133, 1134) == (3, 2)


def test_a_box_in_the_frame_of_the_padded_square() -> None:
    """Of 400 x 200 pixels the square adds 100 above and below, a quarter of its height each."""
    view = only("letterbox", (400, 200))
    box = (100, 50, 300, 150)
    assert view.to_shares(box, "picture") == (0.25, 0.25, 0.75, 0.75)
    assert view.to_shares(box, "view") == pytest.approx((0.25, 0.375, 0.75, 0.625))
    assert view.from_shares((0.25, 0.25, 0.75, 0.75), "picture") == box
    assert view.from_shares((0.25, 0.375, 0.75, 0.625), "view") == pytest.approx(box)


def test_text_in_either_frame_gives_the_same_box() -> None:
    view = only("letterbox", (640, 427))
    box = (64.5, 101.2, 320.7, 400.1)
    mapped = view.to_view(box)
    assert mapped is not None
    texts = format_box(box, view.picture, 3), format_box(mapped, view.size, 3)
    assert texts[0] != texts[1]
    (plain,) = parse_boxes(texts[0], view.picture, 3).boxes
    (padded,) = parse_boxes(texts[1], view.size, 3).boxes
    assert plain == pytest.approx(box, abs=0.33)  # half a cell of 640 / 1000
    assert view.from_view(padded) == pytest.approx(box, abs=0.33)


def test_a_box_outside_the_view_is_none_in_its_frame_alone() -> None:
    view = only("crop", (600, 200))
    assert view.visible == pytest.approx((200, 0, 400, 200))
    assert view.to_view((0, 0, 190, 200)) is None
    assert view.to_shares((0, 0, 190, 200), "view") is None
    assert view.to_shares((0, 0, 150, 200), "picture") == (0, 0, 0.25, 1)
    assert view.to_view((100, 50, 300, 100)) == pytest.approx((0, 84, 168, 168))


def test_a_box_in_the_padding_lies_beside_the_picture() -> None:
    assert only("corner_pad", (300, 150), (100, 100)).from_view((0, 60, 10, 90)) == pytest.approx(
        (0, 180, 30, 270)
    )


@settings(deadline=None)
@given(targets, targets, st.data())
def test_rescaling_there_and_back(size: Size, to: Size, data: st.DataObject) -> None:
    box = data.draw(boxes_within((0, 0, *size)))
    assert rescale(rescale(box, size, to), to, size) == pytest.approx(box)
    assume(size[0] != size[1])
    assert rescale((0, 0, *size), size) == (0, 0, 1, 1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": (0, 336)}, r"size of a view is \(0, 336\); expected .* 1 pixel"),
        ({"strategy": "tiles"}, "max_tiles is None; expected at least 2"),
        ({"strategy": "tiles", "max_tiles": 1}, "max_tiles is 1; expected at least 2"),
        ({"max_tiles": 4}, "would ignore"),
    ],
)
def test_settings_that_cannot_be_used_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Resize(**{"strategy": "naive", "size": (336, 336), **settings})


def test_an_unknown_strategy_is_refused_by_name() -> None:
    rule = resize("naive")
    object.__setattr__(rule, "strategy", "stretch")  # the type checker of the tests would refuse it
    with pytest.raises(ValueError, match="no resize strategy 'stretch'; expected one of naive"):
        Resize.__post_init__(rule)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("picture", [(0, 5), (5, 0), (-3, 5)])
def test_a_picture_without_pixels_is_refused(strategy: ResizeStrategy, picture: Size) -> None:
    for call in (resize(strategy).plan, resize(strategy).num_views):
        with pytest.raises(ValueError, match=r"size of a picture is \("):
            call(*picture)


@pytest.mark.parametrize("box", [(5, 5, 5, 9), (0, 0, math.nan, 1)])
@pytest.mark.parametrize("frame", ["view", "picture"])
def test_a_box_without_area_is_refused(box: Box, frame: str) -> None:
    with pytest.raises(ValueError, match=r"the box \("):
        only("naive", (10, 10)).to_shares(box, frame)  # type: ignore[arg-type]
