import re
from xml.etree import ElementTree

import pytest

from isthmus.report.charts import Chart, Curve, bar, line_chart, smoothed, thinned, ticks


def drawn(svg: str) -> ElementTree.Element:
    return ElementTree.fromstring(svg)


def points(path: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r"([\d.]+) ([\d.]+)", path)]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, [0, 0.25, 0.5, 0.75, 1]),
        (0, 3.4, [0, 1, 2, 3, 4]),
        (0, 0, [0, 0.25, 0.5, 0.75, 1]),
        (0, 0.0021, [0, 0.001, 0.002, 0.003]),
    ],
)
def test_ticks_are_round_and_cover_the_values(
    low: float, high: float, expected: list[float]
) -> None:
    assert ticks(low, high, 5) == expected


def test_a_line_goes_through_its_points() -> None:
    curve = Curve(label="loss", points=((0, 4.0), (50, 2.0), (100, 0.0)))
    svg = drawn(line_chart(Chart(title="Loss", x_label="step", curves=(curve,))))
    (line,) = [p for p in svg.iter("path") if "line" in p.attrib["class"]]
    (x0, y0), (x1, y1), (x2, y2) = points(line.attrib["d"])
    assert (x0, x2) == (58, 640 - 14)
    assert x1 == pytest.approx((x0 + x2) / 2)
    assert (y0, y2) == (14, 290 - 44)
    assert y1 == pytest.approx((y0 + y2) / 2)


def test_a_chart_says_in_words_where_its_lines_begin_and_end() -> None:
    curve = Curve(label="validation accuracy", points=((0, 0.1), (9, 0.875)))
    chart = Chart(title="Accuracy", x_label="step", curves=(curve,), percent=True)
    assert (
        drawn(line_chart(chart)).attrib["aria-label"]
        == "Accuracy: validation accuracy from 10.0% to 87.5%."
    )


def test_labels_are_escaped() -> None:
    curve = Curve(label='<b>"', points=((0, 1.0), (1, 2.0)))
    svg = line_chart(Chart(title="<i>", x_label="<u>&", curves=(curve,)))
    assert "<b>" not in svg
    assert "<u>" not in svg
    assert drawn(svg).attrib["aria-label"].startswith('<i>: <b>" from 1 to 2')


def test_a_chart_without_points_is_refused() -> None:
    empty = Chart(title="Loss", x_label="step", curves=(Curve(label="a", points=()),))
    with pytest.raises(ValueError, match="'Loss' has no point"):
        line_chart(empty)


def test_a_bar_is_as_long_as_its_share_and_marks_lie_at_theirs() -> None:
    svg = drawn(bar(0.5, (0.25, 0.75), [("blind", 0.1), ("majority", 0.2)], width=200))
    (filled,) = [r for r in svg.iter("rect") if r.attrib["class"] == "bar"]
    assert float(filled.attrib["width"]) == 100
    shapes = {p.attrib["class"]: p.attrib["d"] for p in svg.iter("path")}
    assert shapes["whisker"].startswith("M50.0 11H150.0")
    assert shapes["mark blind"].startswith("M20.0 ")
    assert shapes["mark majority"].startswith("M40.0 ")


def test_a_moving_average_is_unbiased_from_the_first_point() -> None:
    flat = [(float(n), 3.0) for n in range(5)]
    assert smoothed(flat, 4) == flat
    rising = smoothed([(0.0, 0.0), (1.0, 1.0)], 2)
    assert rising[1][1] == pytest.approx(1 / 1.5)


def test_long_lines_are_averaged_down() -> None:
    line = [(float(n), float(n % 2)) for n in range(1000)]
    thin = thinned(line, 100)
    assert len(thin) == 100
    assert {y for _, y in thin} == {0.5}
    assert thinned(line[:50], 100) == line[:50]
