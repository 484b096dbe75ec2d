"""The page: plain values in, one HTML file out that needs nothing beside it."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from isthmus.evaluation.scores import SampleRow
from isthmus.report.charts import Chart, bar, line_chart, mark_key
from isthmus.report.pictures import picture
from isthmus.report.sections import Bar, Gallery
from isthmus.training.freeze import PartRow

REPORT_FILE = "report.html"
_TEMPLATE = "page.html.jinja"


@final
@dataclass(frozen=True, kw_only=True)
class Page:
    """What one page tells, from top to bottom; an empty part is left out."""

    title: str
    subtitle: str = ""
    headlines: tuple[Bar, ...] = ()
    """The few numbers to remember."""

    galleries: tuple[Gallery, ...] = ()
    tasks: tuple[Bar, ...] = ()
    charts: tuple[Chart, ...] = ()
    parts: tuple[PartRow, ...] = ()
    """The trainability table."""

    costs: dict[str, str] = field(default_factory=dict)
    """What it took, each with its unit."""

    provenance: dict[str, str] = field(default_factory=dict)
    """Where the numbers come from: recipe, seeds, fingerprints, versions."""


def render(page: Page) -> str:
    """Returns the page as HTML; every text in it is escaped."""
    kinds = dict.fromkeys(kind for item in (*page.headlines, *page.tasks) for kind in item.marks)
    return (
        environment()
        .get_template(_TEMPLATE)
        .render(
            page=page,
            kinds=list(kinds),
            bar=_bar,
            mark_key=mark_key,
            line_chart=line_chart,
            pictures=_pictures,
        )
    )


def environment() -> Environment:
    """Returns what fills the templates of this folder."""
    made = Environment(
        loader=PackageLoader("isthmus.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(percent=_percent, count=_count)
    return made


def write(page: Page, path: Path) -> None:
    """Writes the page to a file, whose folder is made when absent."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(render(page), encoding="utf-8")


def _bar(item: Bar, width: int) -> Markup:
    interval = (item.interval.low, item.interval.high) if item.interval else None
    return bar(item.value, interval, list(item.marks.items()), width)


def _pictures(row: SampleRow) -> list[Markup]:
    """The pictures of a sample, each once; boxes are drawn where they can belong to one alone."""
    shown = dict.fromkeys(row.images)  # a picture may stand still for a clip
    alone = len(shown) == 1
    return [
        picture(
            path,
            f"Picture of the question: {row.question}",
            truth=row.boxes if alone else (),
            predicted=row.predicted_boxes if alone else (),
        )
        for path in shown
    ]


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"


def _count(number: int) -> str:
    return f"{number:,}"
