"""Charts as inline SVG whose colours come from the page, so that they follow light and dark."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from markupsafe import Markup

Point = tuple[float, float]

_WIDTH, _HEIGHT = 640, 290
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 14, 14, 44
_BAR_HEIGHT = 22
_MAX_POINTS = 300
"""Points of a drawn line; a longer one is averaged down to it."""


@final
@dataclass(frozen=True, kw_only=True)
class Curve:
    """One line of a chart."""

    label: str
    points: tuple[Point, ...]
    """(step, value), in order of the steps."""

    noisy: bool = False
    """Whether to draw the points faintly and a smoothed line over them."""


@final
@dataclass(frozen=True, kw_only=True)
class Chart:
    """Lines over one pair of axes."""

    title: str
    x_label: str
    curves: tuple[Curve, ...]
    percent: bool = False
    """Whether the values are shares, drawn from 0 to 100 %."""


def line_chart(chart: Chart) -> Markup:
    """Draws a chart; it scales with the width of the page.

    Raises:
        ValueError: no curve has a point.
    """
    points = [point for curve in chart.curves for point in curve.points]
    if not points:
        raise ValueError(f"chart {chart.title!r} has no point; leave it out of the page")
    xs, ys = zip(*points, strict=True)
    x_ticks = ticks(min(xs), max(xs), 6)
    y_ticks = ticks(0, 1, 5) if chart.percent else ticks(min(0, *ys), max(ys), 5)
    frame = _Frame(x=(min(xs), max(xs)), y=(y_ticks[0], y_ticks[-1]))
    parts = [_grid(frame, x_ticks, y_ticks, chart.percent)]
    for index, curve in enumerate(chart.curves):
        parts.append(_line(frame, curve, index))
    parts.append(
        Markup('<text class="axis" x="{}" y="{}" text-anchor="end">{}</text>').format(
            _WIDTH - _RIGHT, _HEIGHT - 2, chart.x_label
        )
    )
    return Markup(
        '<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>'
    ).format(_WIDTH, _HEIGHT, _described(chart), Markup("").join(parts))


def bar(
    value: float,
    interval: tuple[float, float] | None,
    marks: Sequence[tuple[str, float]],
    width: int = 400,
) -> Markup:
    """Draws a share as a bar with its interval as a whisker and other models' values as marks.

    Args:
        value: The share, 0 to 1.
        interval: Low and high end of its interval, where there is one.
        marks: Kind (`blind`, `majority`, ...) and share of each other model.
        width: Units: SVG units from 0 to 100 %, of which the bar is 22 high.
    """
    parts = [
        Markup('<rect class="track" x="0" y="5" width="{}" height="12" rx="2"/>').format(width),
        Markup('<rect class="bar" x="0" y="5" width="{:.1f}" height="12" rx="2"/>').format(
            _along(value, width)
        ),
    ]
    parts.extend(_mark(kind, _along(share, width)) for kind, share in marks)
    if interval is not None:
        low, high = (_along(edge, width) for edge in interval)
        shape = Markup("M{0:.1f} 11H{1:.1f}M{0:.1f} 7v8M{1:.1f} 7v8").format(low, high)
        parts.append(
            Markup('<path class="whisker under" d="{0}"/><path class="whisker" d="{0}"/>').format(
                shape
            )
        )
    return Markup('<svg class="bar-chart" viewBox="-2 0 {} {}" aria-hidden="true">{}</svg>').format(
        width + 4, _BAR_HEIGHT, Markup("").join(parts)
    )


def mark_key(kind: str) -> Markup:
    """Draws the mark of another model by itself, for the legend."""
    return Markup('<svg class="key" viewBox="-6 0 12 22" aria-hidden="true">{}</svg>').format(
        _mark(kind, 0.0)
    )


def ticks(low: float, high: float, num: int) -> list[float]:
    """Returns about `num` round numbers from at most `low` to at least `high`."""
    if high <= low:
        high = low + (abs(low) or 1.0)
    rough = (high - low) / max(num - 1, 1)
    scale = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * scale for factor in (1, 2, 2.5, 5, 10) if factor * scale >= rough * 0.999)
    first = math.floor(low / step + 1e-9)
    last = max(math.ceil(high / step - 1e-9), first + 1)
    return [round(index * step, 12) for index in range(first, last + 1)]


def smoothed(points: Sequence[Point], window: int) -> list[Point]:
    """Returns the exponential moving average over about `window` points, unbiased at the start."""
    keep = 1 - 1 / max(window, 1)
    total = weight = 0.0
    result = []
    for x, y in points:
        total = keep * total + y
        weight = keep * weight + 1
        result.append((x, total / weight))
    return result


def thinned(points: Sequence[Point], limit: int = _MAX_POINTS) -> list[Point]:
    """Returns at most `limit` points, each the mean of as many neighbours as needed."""
    group = math.ceil(len(points) / limit)
    chunks = [points[start : start + group] for start in range(0, len(points), max(group, 1))]
    return [
        (sum(x for x, _ in chunk) / len(chunk), sum(y for _, y in chunk) / len(chunk))
        for chunk in chunks
    ]


@final
@dataclass(frozen=True, kw_only=True)
class _Frame:
    x: tuple[float, float]
    y: tuple[float, float]

    def across(self, value: float) -> float:
        low, high = self.x
        return _LEFT + (value - low) / ((high - low) or 1) * (_WIDTH - _LEFT - _RIGHT)

    def up(self, value: float) -> float:
        low, high = self.y
        return _HEIGHT - _BOTTOM - (value - low) / (high - low) * (_HEIGHT - _TOP - _BOTTOM)


def _grid(
    frame: _Frame, x_ticks: Sequence[float], y_ticks: Sequence[float], percent: bool
) -> Markup:
    parts = []
    for tick in y_ticks:
        y = frame.up(tick)
        label = f"{tick:.0%}" if percent else _number(tick)
        parts.append(
            Markup(
                '<path class="grid" d="M{} {:.1f}H{}"/>'
                '<text class="tick" x="{}" y="{:.1f}" text-anchor="end">{}</text>'
            ).format(_LEFT, y, _WIDTH - _RIGHT, _LEFT - 8, y + 5, label)
        )
    for tick in x_ticks:
        if frame.x[0] <= tick <= frame.x[1]:
            parts.append(
                Markup(
                    '<text class="tick" x="{:.1f}" y="{}" text-anchor="middle">{}</text>'
                ).format(frame.across(tick), _HEIGHT - _BOTTOM + 21, f"{tick:,g}")
            )
    return Markup("").join(parts)


def _number(value: float) -> str:
    """A short number: learning rates as powers of ten, without the zeros Python writes."""
    if not 0 < abs(value) < 0.01:
        return f"{value:g}"
    digits, power = f"{value:.1e}".split("e")
    return f"{digits.removesuffix('.0')}e{int(power)}"


def _line(frame: _Frame, curve: Curve, index: int) -> Markup:
    if not curve.points:
        return Markup("")
    lines = []
    if curve.noisy:
        lines.append(("raw", thinned(curve.points)))
        lines.append(("", thinned(smoothed(curve.points, max(len(curve.points) // 40, 1)))))
    else:
        lines.append(("", thinned(curve.points)))
    drawn = [
        Markup('<path class="line c{} {}" d="{}"/>').format(index, kind, _path(frame, points))
        for kind, points in lines
    ]
    if not curve.noisy and len(curve.points) <= 40:
        drawn.extend(
            Markup('<circle class="dot c{}" cx="{:.1f}" cy="{:.1f}" r="3"/>').format(
                index, frame.across(x), frame.up(y)
            )
            for x, y in curve.points
        )
    return Markup("").join(drawn)


def _path(frame: _Frame, points: Sequence[Point]) -> str:
    return "M" + "L".join(f"{frame.across(x):.1f} {frame.up(y):.1f}" for x, y in points)


def _described(chart: Chart) -> str:
    """The chart in words, for those who hear the page."""
    form = "{:.1%}" if chart.percent else "{:.4g}"
    ends = [
        f"{curve.label} from {form.format(curve.points[0][1])} "
        f"to {form.format(curve.points[-1][1])}"
        for curve in chart.curves
        if curve.points
    ]
    return f"{chart.title}: {'; '.join(ends)}."


def _along(share: float, width: int) -> float:
    return min(max(share, 0.0), 1.0) * width


def _mark(kind: str, x: float) -> Markup:
    shapes = {
        "blind": "M{x:.1f} 1V21",
        "majority": "M{x:.1f} 13.5l5 8h-10z",
    }
    shape = shapes.get(kind, "M{x:.1f} 1l4 4l-4 4l-4 -4z").format(x=x)
    return Markup('<path class="mark {}" d="{}"/>').format(kind, shape)
