import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.geometry.boxes import Box, format_box, format_boxes, iou, parse_boxes, without_boxes


@st.composite
def boxes_in(draw: st.DrawFn, width: int, height: int, least: int = 1) -> Box:
    x0 = draw(st.integers(0, width - least))
    y0 = draw(st.integers(0, height - least))
    x1 = draw(st.integers(x0 + least, width))
    y1 = draw(st.integers(y0 + least, height))
    return (float(x0), float(y0), float(x1), float(y1))


@pytest.mark.parametrize(("digits", "text"), [(2, "[[10,25,49,99]]"), (3, "[[100,250,499,999]]")])
def test_format_writes_the_cell_that_holds_the_edge(digits: int, text: str) -> None:
    assert format_box((64, 80, 319.9, 320), (640, 320), digits) == text


def test_format_takes_whole_pixels_exactly() -> None:
    assert format_box((29, 57, 58, 100), (100, 100)) == "[[29,57,58,99]]"


@given(st.lists(boxes_in(97, 61), min_size=1, max_size=4), st.sampled_from([2, 3]))
def test_what_is_read_is_written_as_the_same_text(boxes: list[Box], digits: int) -> None:
    text = format_boxes(boxes, (97, 61), digits)
    parsed = parse_boxes(text, (97, 61), digits)
    assert parsed.unread == ()
    assert format_boxes(parsed.boxes, (97, 61), digits) == text


@given(boxes_in(640, 480), st.sampled_from([2, 3]))
def test_a_read_edge_is_off_by_at_most_half_a_cell(box: Box, digits: int) -> None:
    (read,) = parse_boxes(format_box(box, (640, 480), digits), (640, 480), digits).boxes
    for axis, extent in ((0, 640), (1, 480)):
        cell = extent / 10**digits
        first, last = (min(int(box[i] / cell), 10**digits - 1) for i in (axis, axis + 2))
        within_one = first == last
        for edge in (axis, axis + 2):
            assert abs(read[edge] - box[edge]) <= (0.75 if within_one else 0.5) * cell + 1e-9


@given(boxes_in(100, 100, least=20))
def test_two_digits_keep_nine_tenths_of_a_box_a_fifth_wide(box: Box) -> None:
    (read,) = parse_boxes(format_box(box, (100, 100)), (100, 100)).boxes
    assert iou(read, box) >= 0.9


def test_a_box_within_one_cell_keeps_an_area() -> None:
    text = format_box((10.1, 10.1, 10.2, 10.2), (100, 100))
    (read,) = parse_boxes(text, (100, 100)).boxes
    assert text == "[[10,10,10,10]]"
    assert read[0] < read[2]
    assert read[1] < read[3]


def test_several_boxes_and_words_around_them() -> None:
    parsed = parse_boxes("a cat [[00,00,09,09;10,10,19,19]] and [[ 5, 5 ,6,7 ]].", (100, 100))
    assert parsed.boxes == (
        (0.5, 0.5, 9.5, 9.5),
        (10.5, 10.5, 19.5, 19.5),
        (5.5, 5.5, 6.5, 7.5),
    )
    assert parsed.unread == ()


@pytest.mark.parametrize(
    ("text", "unread"),
    [
        ("[[10,20,30]]", ("10,20,30",)),
        ("[[10,20,30,40,50]]", ("10,20,30,40,50",)),
        ("[[30,20,10,40]]", ("30,20,10,40",)),
        ("[[0.1,0.2,0.3,0.4]]", ("0.1,0.2,0.3,0.4",)),
        ("[[100,200,300,400]]", ("100,200,300,400",)),
        ("[[cat]]", ("cat",)),
        ("[[-1,20,30,40]]", ("-1,20,30,40",)),
        ("[[10,20,30,40", ("10,20,30,40",)),
    ],
)
def test_what_cannot_be_read_is_reported_and_not_guessed(
    text: str, unread: tuple[str, ...]
) -> None:
    parsed = parse_boxes(text)
    assert parsed.boxes == ()
    assert parsed.unread == unread


def test_a_cut_text_loses_only_its_last_piece() -> None:
    parsed = parse_boxes("[[10,10,20,20;30,30,45,50", (100, 100))
    assert parsed.boxes == ((10.5, 10.5, 20.5, 20.5),)
    assert parsed.unread == ("30,30,45,50",)


def test_words_in_plain_brackets_are_no_box() -> None:
    parsed = parse_boxes("no box [sorry]")
    assert parsed.boxes == parsed.unread == ()
    assert parse_boxes("[10,20,30,40]", (100, 100)).boxes == ((10.5, 20.5, 30.5, 40.5),)


def test_the_words_of_a_text_without_its_boxes() -> None:
    assert without_boxes("red ball [[01,02,03,04]]; blue [[1") == "red ball; blue"
    assert without_boxes("keep [this]") == "keep [this]"


@pytest.mark.parametrize("box", [(5, 5, 5, 9), (9, 5, 5, 9), (0, 0, 1), (0, 0, float("nan"), 1)])
def test_a_box_without_area_is_refused_by_name(box: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match=r"the box \("):
        format_box(box, (10, 10))


@pytest.mark.parametrize("digits", [1, 4])
def test_other_digits_are_refused(digits: int) -> None:
    with pytest.raises(ValueError, match=r"expected 2 .* or 3"):
        format_box((0, 0, 1, 1), (2, 2), digits)


@pytest.mark.parametrize(
    ("other", "share"),
    [
        ((0, 0, 10, 10), 1.0),
        ((0, 0, 5, 10), 0.5),
        ((5, 5, 15, 15), 25 / 175),
        ((10, 0, 20, 10), 0.0),
        ((20, 20, 30, 30), 0.0),
    ],
)
def test_iou_of_known_boxes(other: Box, share: float) -> None:
    assert iou((0, 0, 10, 10), other) == pytest.approx(share)


@given(boxes_in(30, 30), boxes_in(30, 30))
def test_iou_is_symmetric_and_a_share(first: Box, second: Box) -> None:
    value = iou(first, second)
    assert value == iou(second, first)
    assert 0 <= value <= 1
    assert (value == 1) == (first == second)
