import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.geometry.point_text import read_points, write_points

SIZE = (200, 150)


def test_one_point_and_several() -> None:
    assert write_points([(123, 60.6)], SIZE) == '<point x="61.5" y="40.4">'
    several = write_points([(123, 60.6), (0, 150)], SIZE)
    assert several == '<points x1="61.5" y1="40.4" x2="0.0" y2="100.0">'
    parsed = read_points(f"{several}two dogs</points>", SIZE)
    assert parsed.points[0] == pytest.approx((123, 60.6))
    assert parsed.points[1] == (0, 150)
    assert parsed.unread == ()


@settings(deadline=None)
@given(
    st.integers(1, 900),
    st.integers(1, 900),
    st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=4),
)
def test_a_point_is_read_within_half_a_step_and_written_as_the_same_text(
    width: int, height: int, shares: list[tuple[float, float]]
) -> None:
    points = [(across * width, down * height) for across, down in shares]
    text = write_points(points, (width, height))
    parsed = read_points(text, (width, height))
    assert parsed.unread == ()
    for point, read in zip(points, parsed.points, strict=True):
        assert abs(point[0] - read[0]) <= width / 2000 * (1 + 1e-6)
        assert abs(point[1] - read[1]) <= height / 2000 * (1 + 1e-6)
    assert write_points(parsed.points, (width, height)) == text


def test_words_of_the_tag_do_not_matter() -> None:
    text = 'Here: <point alt="a fox" x="50"  y = "50.0" size="2">a fox</point>, "3 by 4"'
    assert read_points(text, SIZE).points == ((100, 75),)
    assert read_points(text, SIZE).unread == ()


@pytest.mark.parametrize(
    ("text", "unread"),
    [
        ('<point x="61.55" y="40">', ('x="61.55" y="40"',)),
        ('<point x="100.1" y="40">', ('x="100.1" y="40"',)),
        ('<point x="-1" y="40">', ('x="-1" y="40"',)),
        ('<point x="1">', ('x="1"',)),
        ('<point y="1" x="2">', ('x="2"',)),
        ('<point x="1" y="1" y="2">', ('x="1" y="1" y="2"',)),
        ('<points coords="1 1 900 700">', ('coords="1 1 900 700"',)),
        ('<points x1="1" y2="1">', ('x1="1" y2="1"',)),
        ('<point x="61.5" y="40', ('x="61.5" y="40',)),
        ("<point>the fox</point>", ("",)),
    ],
)
def test_what_cannot_be_read_is_reported(text: str, unread: tuple[str, ...]) -> None:
    parsed = read_points(text, SIZE)
    assert parsed.points == ()
    assert parsed.unread == unread


def test_a_cut_tag_loses_only_its_last_point() -> None:
    parsed = read_points('<points x1="50" y1="50" x2="1.0" y2="2', SIZE)
    assert parsed.points == ((100, 75),)
    assert len(parsed.unread) == 1


@settings(deadline=None)
@given(st.text('<point s/>x1y2="= .059', max_size=60) | st.text(max_size=60))
def test_any_text_is_read_without_an_error(text: str) -> None:
    for prefix in ("", "<point ", '<points x1="'):
        for across, down in read_points(prefix + text, SIZE).points:
            assert 0 <= across <= 200
            assert 0 <= down <= 150


def test_points_that_cannot_be_written_are_refused() -> None:
    with pytest.raises(ValueError, match="no point to write"):
        write_points([], SIZE)
    with pytest.raises(ValueError, match="lies outside of the picture"):
        write_points([(201, 5)], SIZE)
    with pytest.raises(ValueError, match="lies outside of the picture"):
        write_points([(float("nan"), 5)], SIZE)
    with pytest.raises(ValueError, match="has no area"):
        read_points("", (0, 5))
