import math
import re
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.geometry.box_text import CONVENTIONS, convention
from isthmus.geometry.boxes import Box, format_boxes, iou
from isthmus.geometry.view import Size

NAMES = sorted(CONVENTIONS)
PADDED = {"llava", "shikra"}
SIZE, RESIZED = (200, 150), (400, 300)
BOX, WHOLE = (60.0, 30.0, 125.0, 120.0), (0.0, 0.0, 200.0, 150.0)

TEXTS = {
    "cogvlm": "[[300,200,625,800;000,000,999,999]]",
    "isthmus": "[[30,20,62,80;00,00,99,99]]",
    "llava": "[0.3, 0.28, 0.62, 0.72], [0.0, 0.12, 1.0, 0.88]",
    "honeybee": "[0.300,0.200,0.625,0.800],[0.000,0.000,1.000,1.000]",
    "shikra": "[0.300,0.275,0.625,0.725;0.000,0.125,1.000,0.875]",
    "qwen_vl": "<box>(300,200),(624,799)</box><box>(0,0),(999,999)</box>",
    "qwen2_5_vl": '[{"bbox_2d": [120, 60, 250, 240]}, {"bbox_2d": [0, 0, 400, 300]}]',
    "qwen3_vl": '[{"bbox_2d": [300, 200, 625, 800]}, {"bbox_2d": [0, 0, 1000, 1000]}]',
    "kosmos_2": "<object><patch_index_0201><patch_index_0819></delimiter_of_multi_objects/>"
    "<patch_index_0000><patch_index_1023></object>",
    "paligemma": "<loc0205><loc0307><loc0818><loc0639> ; <loc0000><loc0000><loc1023><loc1023>",
    "florence_2": "<loc_300><loc_200><loc_625><loc_800><loc_0><loc_0><loc_999><loc_999>",
    "fuyu": "<box>30, 60, 120, 125</box><box>0, 0, 150, 200</box>",
    "internvl": "<box>[[300, 200, 625, 800], [0, 0, 1000, 1000]]</box>",
    "ferret": "[300, 200, 625, 800], [0, 0, 1000, 1000]",
    "minigpt_v2": "{<30><20><62><80>}<delim>{<0><0><100><100>}",
}
"""What two boxes are in each convention, reckoned by hand."""

STEPS: dict[str, Callable[[int, int, int], float]] = {
    "cogvlm": lambda side, longest, resized: side / 1000,
    "isthmus": lambda side, longest, resized: side / 100,
    "llava": lambda side, longest, resized: longest / 100,
    "honeybee": lambda side, longest, resized: side / 1000,
    "shikra": lambda side, longest, resized: longest / 1000,
    "qwen_vl": lambda side, longest, resized: side / 999,
    "qwen2_5_vl": lambda side, longest, resized: side / resized,
    "qwen3_vl": lambda side, longest, resized: side / 1000,
    "kosmos_2": lambda side, longest, resized: side / 32,
    "paligemma": lambda side, longest, resized: side / 1023,
    "florence_2": lambda side, longest, resized: side / 1000,
    "fuyu": lambda side, longest, resized: side / resized * 2,
    "internvl": lambda side, longest, resized: side / 1000,
    "ferret": lambda side, longest, resized: side / 1000,
    "minigpt_v2": lambda side, longest, resized: side / 100,
}
"""Pixels of the picture in a step."""


SIDES = st.tuples(st.integers(1, 900), st.integers(1, 900))
SHARES = st.sampled_from((0.0, 1e-6, 1e-3, 1.0)) | st.floats(1e-6, 1)
"""Shares of a side, often the whole or next to nothing."""


@st.composite
def pictures(draw: st.DrawFn) -> tuple[Size, Size, list[Box]]:
    """The size of a picture, the size it is resized to, and boxes, often on its edges."""
    size, resized = draw(SIDES), draw(SIDES)
    boxes = []
    for shares in draw(st.lists(st.tuples(SHARES, SHARES, SHARES, SHARES), min_size=1, max_size=3)):
        left, top = shares[0] * 0.999 * size[0], shares[1] * 0.999 * size[1]
        right = left + max(shares[2] * (size[0] - left), 1e-6)
        bottom = top + max(shares[3] * (size[1] - top), 1e-6)
        boxes.append((left, top, min(right, size[0]), min(bottom, size[1])))
    return size, resized, boxes


@pytest.mark.parametrize("name", NAMES)
def test_the_text_of_each_convention(name: str) -> None:
    assert convention(name).write([BOX, WHOLE], SIZE, RESIZED) == TEXTS[name]


@settings(max_examples=50, deadline=None)
@given(pictures())
def test_a_box_survives_as_the_step_allows_and_is_written_as_the_same_text(
    picture: tuple[Size, Size, list[Box]],
) -> None:
    size, resized, boxes = picture
    for name, codec in CONVENTIONS.items():
        text = codec.write(boxes, size, resized)
        parsed = codec.read(text, size, resized)
        assert parsed.unread == (), name
        assert codec.write(parsed.boxes, size, resized) == text, name
        steps = [STEPS[name](size[axis], max(size), resized[axis]) for axis in (0, 1)]
        for box, read in zip(boxes, parsed.boxes, strict=True):
            assert iou(box, read) >= least_iou(name, box, steps) - 1e-6, name
            for edge in range(4):
                step = steps[edge % 2]
                is_thin = box[edge % 2 + 2] - box[edge % 2] < step * (1 + 1e-6)
                share = 1 if name == "kosmos_2" or is_thin else 0.5
                assert abs(read[edge] - box[edge]) <= step * (share + 1e-6), name


def least_iou(name: str, box: Box, steps: list[float]) -> float:
    """What is left of a box whose edges all move inwards by half a step, or outwards by a whole."""
    extents = [(box[axis + 2] - box[axis]) / steps[axis] for axis in (0, 1)]
    inward = math.prod(max(1 - 1 / extent, 0) for extent in extents)
    outward = math.prod(extent / (extent + 2) for extent in extents)
    return min(inward, outward) if name == "kosmos_2" else inward


@pytest.mark.parametrize("name", NAMES)
def test_the_smallest_box_keeps_an_area_anywhere(name: str) -> None:
    for at in (0.0, 0.3, 0.5, 0.999):
        x, y = at * SIZE[0], at * SIZE[1]
        text = convention(name).write([(x, y, x + 1e-4, y + 1e-4)], SIZE, RESIZED)
        (read,) = convention(name).read(text, SIZE, RESIZED).boxes
        assert read[0] < read[2]
        assert read[1] < read[3]


@pytest.mark.parametrize("name", NAMES)
def test_a_text_that_is_cut_gives_no_wrong_box(name: str) -> None:
    codec, text = convention(name), TEXTS[name]
    whole = codec.read(text, SIZE, RESIZED).boxes
    for length in range(len(text)):
        read = codec.read(text[:length], SIZE, RESIZED).boxes
        assert read == whole[: len(read)]
    last_digit = max(found.end() for found in re.finditer(r"\d", text))
    parsed = codec.read(text[:last_digit], SIZE, RESIZED)
    assert parsed.boxes == whole[:1]
    assert len(parsed.unread) == 1


@pytest.mark.parametrize("name", NAMES)
def test_words_and_spaces_around_boxes_do_not_matter(name: str) -> None:
    codec, text = convention(name), TEXTS[name]
    expected = codec.read(text, SIZE, RESIZED)
    spaced = text.replace(",", " ,\n ").replace("><", ">  <")
    assert codec.read(f"2 cats: <ref>cat</ref>{spaced} [sic] {{so}} <b>", SIZE, RESIZED) == expected
    assert codec.read("no box at all, 1 or 2", SIZE, RESIZED).boxes == ()


@settings(max_examples=50, deadline=None)
@given(
    st.text(max_size=40),
    st.lists(
        st.tuples(
            st.integers(0, 60), st.integers(0, 4), st.text("0123456789.,;-[](){}<>/ x", max_size=3)
        ),
        max_size=6,
    ),
    st.tuples(st.integers(1, 50), st.integers(1, 50)),
    st.tuples(st.integers(1, 50), st.integers(1, 50)),
)
def test_any_text_is_read_without_an_error(
    noise: str, patches: list[tuple[int, int, str]], size: Size, resized: Size
) -> None:
    for name, codec in CONVENTIONS.items():
        text = noise
        for at, num_lost, patch in patches:
            text += TEXTS[name][:at] + patch + TEXTS[name][at + num_lost :]
        margin = max(size) if name in PADDED else 0
        for x0, y0, x1, y1 in codec.read(text, size, resized).boxes:
            assert -margin <= x0 < x1 <= size[0] + margin + 1e-6, name
            assert -margin <= y0 < y1 <= size[1] + margin + 1e-6, name


@pytest.mark.parametrize(
    ("name", "text", "unread"),
    [
        ("cogvlm", "[[500,100,200,300]]", ["500,100,200,300"]),
        ("isthmus", "[[100,100,200,300]]", ["100,100,200,300"]),
        ("llava", "[0.5, 0.1, 0.2, 0.3]", ["0.5, 0.1, 0.2, 0.3"]),
        ("llava", "[0.010, 0.1, 0.2, 0.3]", ["0.010, 0.1, 0.2, 0.3"]),
        ("llava", "[0.1, 0.1, 0.2, 1.01]", ["0.1, 0.1, 0.2, 1.01"]),
        ("llava", "[-0.1, 0.1, 0.2, 0.3]", ["-0.1, 0.1, 0.2, 0.3"]),
        ("llava", "[10, 10, 20, 20]", ["10, 10, 20, 20"]),
        ("llava", "[., 0.1, 0.2, 0.3]", ["., 0.1, 0.2, 0.3"]),
        ("honeybee", "[0.1,0.1,0.2] [0.1,0.1,0.2,0.3,0.4]", ["0.1,0.1,0.2", "0.1,0.1,0.2,0.3,0.4"]),
        ("honeybee", "[0.1,0.1,0.2,cat]", ["0.1,0.1,0.2,cat"]),
        ("honeybee", f"[0.1,0.1,0.2,0.{'9' * 5000}]", [f"0.1,0.1,0.2,0.{'9' * 5000}"]),
        ("shikra", "[0.1,0.1,0.2,0.2;0.5,0.1,0.4,0.2]", ["0.5,0.1,0.4,0.2"]),
        ("qwen_vl", "<box>(1,1),(2,1000)</box>", ["(1,1),(2,1000)"]),
        ("qwen_vl", "<box>(1,1),(2,2)<box>cat</box>", ["(1,1),(2,2)", "cat"]),
        ("qwen_vl", "<box>1 1 2 2</box>", ["1 1 2 2"]),
        ("qwen2_5_vl", '{"bbox_2d": [1, 1, 401, 2]}', ["1, 1, 401, 2"]),
        ("qwen2_5_vl", '{"bbox_2d": null, "label": "cat"}', ['null, "label": "cat"']),
        ("qwen2_5_vl", '{"point_2d": [1, 2]}', ["1, 2"]),
        ("qwen3_vl", '{"bbox_2d": [1, 1, 1001, 2]}', ["1, 1, 1001, 2"]),
        ("qwen3_vl", "[00001, 1, 9, 2]", ["00001, 1, 9, 2"]),
        ("qwen3_vl", f"[{'9' * 5000}, 1, 9, 2]", [f"{'9' * 5000}, 1, 9, 2"]),
        ("qwen3_vl", '{"bbox_2d": [-1, 1, 9, 2]}', ["-1, 1, 9, 2"]),
        ("qwen3_vl", '{"bbox_2d": [1.5, 1, 9, 2]}', ["1.5, 1, 9, 2"]),
        ("kosmos_2", "<object>dog</object>", ["dog"]),
        ("kosmos_2", "<object><patch_index_0001></object>", ["patch_index_0001"]),
        (
            "kosmos_2",
            "<patch_index_0001><patch_index_1024>",
            ["patch_index_0001><patch_index_1024"],
        ),
        (
            "kosmos_2",
            "<patch_index_0034><patch_index_0001>",
            ["patch_index_0034><patch_index_0001"],
        ),
        (
            "kosmos_2",
            "<patch_index_0002><patch_index_0033>",
            ["patch_index_0002><patch_index_0033"],
        ),
        ("paligemma", "<loc0001><loc0001><loc0002><loc1024>", ["0001><loc0001><loc0002><loc1024"]),
        ("paligemma", "<loc0001><loc0001> cat", ["0001><loc0001"]),
        ("florence_2", "<loc_1><loc_1><loc_2><loc_1000>", ["1><loc_1><loc_2><loc_1000"]),
        ("florence_2", "<loc_2><loc_1><loc_1><loc_3>", ["2><loc_1><loc_1><loc_3"]),
        ("fuyu", "<box>1, 1, 151, 2</box>", ["1, 1, 151, 2"]),
        ("internvl", "<box>[[1, 1, 2, 2], [3, 3, 2, 9]]</box>", ["[3, 3, 2, 9]]"]),
        ("ferret", "[1, 1, 2, 2, 3, 3]", ["1, 1, 2, 2, 3, 3"]),
        ("minigpt_v2", "{<1><1><101><2>}", ["1><1><101><2>"]),
        ("minigpt_v2", "{<1><1><2>}", ["1><1><2>"]),
    ],
)
def test_what_cannot_be_read_is_reported_and_not_guessed(
    name: str, text: str, unread: list[str]
) -> None:
    parsed = convention(name).read(text, SIZE, RESIZED)
    assert [piece.strip("[ ") for piece in parsed.unread] == [piece.strip("[ ") for piece in unread]
    assert len(parsed.boxes) == (1 if name in {"shikra", "internvl"} else 0)


def test_a_run_of_tokens_reports_what_is_left_over() -> None:
    parsed = convention("florence_2").read("cat<loc_1><loc_1><loc_2><loc_2><loc_3>", SIZE)
    assert len(parsed.boxes) == 1
    assert parsed.unread == ("3",)


def test_other_spellings_of_a_model_are_read() -> None:
    (expected,) = convention("llava").read("[0.3, 0.4, 0.5, 0.6]", SIZE).boxes
    assert convention("llava").read("[[.30,0.4,0.50,.6]]", SIZE).boxes == (expected,)
    fenced = '```json\n[{"bbox_2d": [1, 1, 2, 2], "label": "cat"}]\n```'
    qwen = convention("qwen2_5_vl")
    assert qwen.read(fenced, SIZE, SIZE).boxes == ((1, 1, 2, 2),)
    assert qwen.read("{'bbox_2d': (1, 1, 2, 2)} [1, 1, 2, 2]", SIZE, SIZE).boxes[-1] == (1, 1, 2, 2)


def test_kosmos_reads_middles_but_edges_of_a_single_row() -> None:
    kosmos, size = convention("kosmos_2"), (640, 320)
    text = "<phrase> a snowman</phrase><object><patch_index_0044><patch_index_0863></object>"
    (box,) = kosmos.read(text, size).boxes
    assert box == (0.390625 * 640, 0.046875 * 320, 0.984375 * 640, 0.828125 * 320)
    (row,) = kosmos.read("<patch_index_0033><patch_index_0035>", size).boxes
    assert row == (20, 10, 80, 20)
    (column,) = kosmos.read("<patch_index_0033><patch_index_0097>", size).boxes
    assert column == (20, 10, 40, 40)
    for cell in range(0, 1024, 33):
        text = f"<object><patch_index_{cell:04d}><patch_index_{cell:04d}></object>"
        assert kosmos.write(kosmos.read(text, (97, 61)).boxes, (97, 61)) == text


def test_florence_takes_the_cell_and_reads_its_middle() -> None:
    text = convention("florence_2").write([(100, 0, 101, 480)], (640, 480))
    assert text == "<loc_156><loc_0><loc_157><loc_999>"
    (box,) = convention("florence_2").read(text, (640, 480)).boxes
    assert box == pytest.approx((156.5 * 0.64, 0.24, 157.5 * 0.64, 479.76))


def test_an_odd_padding_has_its_smaller_half_above_and_left() -> None:
    shikra = convention("shikra")
    assert shikra.write([(0, 0, 7, 4)], (7, 4)) == "[0.000,0.143,1.000,0.714]"
    assert shikra.write([(0, 0, 4, 7)], (4, 7)) == "[0.143,0.000,0.714,1.000]"
    (padding,) = shikra.read("[0.000,0.000,1.000,0.100]", (7, 4)).boxes
    assert padding == pytest.approx((0, -1, 7, -0.3))


def test_fuyu_halves_pixels_that_need_not_be_even() -> None:
    fuyu, size = convention("fuyu"), (303, 301)
    text = fuyu.write([(10, 20, 303, 301)], size, size)
    assert text == "<box>10, 5, 150, 152</box>"
    assert fuyu.read(text, size, size).boxes[0] == pytest.approx((10, 20, 303, 300))


@pytest.mark.parametrize(("name", "digits"), [("cogvlm", 3), ("isthmus", 2)])
def test_cells_are_those_of_boxes(name: str, digits: int) -> None:
    assert convention(name).write([BOX], SIZE) == format_boxes([BOX], SIZE, digits)


@pytest.mark.parametrize("name", NAMES)
def test_what_juts_out_of_the_picture_is_cut_off(name: str) -> None:
    long = (-500.0, -500.0, 700.0, 650.0)
    square = (0.0, -25.0, 200.0, 175.0)
    codec = convention(name)
    assert codec.write([long], SIZE, RESIZED) == codec.write(
        [square if name in PADDED else WHOLE], SIZE, RESIZED
    )


@pytest.mark.parametrize("name", NAMES)
def test_what_cannot_be_written_is_refused(name: str) -> None:
    codec = convention(name)
    with pytest.raises(ValueError, match="no box to write"):
        codec.write([], SIZE, RESIZED)
    with pytest.raises(ValueError, match="has no area"):
        codec.write([(5, 5, 5, 9)], SIZE, RESIZED)
    with pytest.raises(ValueError, match="four finite numbers"):
        codec.write([(5, 5, math.nan, 9)], SIZE, RESIZED)
    with pytest.raises(ValueError, match="lies outside of the picture"):
        codec.write([(300, 5, 310, 9)], SIZE, RESIZED)
    for size in ((0, 9), (9, 0)):
        with pytest.raises(ValueError, match="has no area"):
            codec.write([BOX], size, RESIZED)
        with pytest.raises(ValueError, match="has no area"):
            codec.read(TEXTS[name], size, RESIZED)


@pytest.mark.parametrize("name", ["qwen2_5_vl", "fuyu"])
def test_counted_pixels_need_the_resized_size(name: str) -> None:
    with pytest.raises(ValueError, match="resized is None"):
        convention(name).write([BOX], SIZE)
    with pytest.raises(ValueError, match="resized is None"):
        convention(name).read(TEXTS[name], SIZE)
    with pytest.raises(ValueError, match="has no area"):
        convention(name).read(TEXTS[name], SIZE, (0, 1))


def test_an_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(ValueError, match="unknown box convention 'shikr'; did you mean 'shikra'"):
        convention("shikr")
