"""The page about a data file: what it holds, what is wrong with it, and some of its pictures."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import final

from markupsafe import Markup

from isthmus.data.check import Checked, Spread
from isthmus.data.quarantine import Rejected
from isthmus.data.sample import Sample
from isthmus.geometry.boxes import Box
from isthmus.report.page import environment
from isthmus.report.pictures import picture

DATA_PAGE_FILE = "check.html"
_TEMPLATE = "data.html.jinja"
SHOWN, FAULTS_SHOWN = 24, 50
"""Samples in the gallery, and faulty rows in the table."""


@final
@dataclass(frozen=True, kw_only=True)
class DataPage:
    """What the page tells."""

    title: str
    subtitle: str
    counts: dict[str, str]
    tables: dict[str, dict[str, str]]
    """Rows by heading."""
    samples: tuple[Sample, ...]
    rejected: tuple[Rejected, ...]
    num_rejected: int


def data_page(checked: Checked, title: str, *, seed: int = 0) -> DataPage:
    """Returns the page of a checked file or data set.

    Args:
        checked: what was found.
        title: what was checked.
        seed: of the choice of the samples that are shown.
    """
    census, lengths = checked.census, checked.census.lengths
    num = min(SHOWN, len(checked.vetted.samples))
    spreads = {
        "answers of a sample": lengths.turns,
        "images of a sample": lengths.images,
        "words of a question": lengths.question_words,
        "words of an answer": lengths.answer_words,
        "image width, pixels": census.image_width,
        "image height, pixels": census.image_height,
    }
    return DataPage(
        title=title,
        subtitle=f"{census.usable:,} of {census.seen:,} rows can be used.",
        counts={
            "rows": f"{census.seen:,}",
            "usable": f"{census.usable:,}",
            "quarantined": f"{sum(census.quarantined.values()):,}",
            "image files": f"{census.image_files:,}",
        },
        tables={
            "Why rows were left out": _numbers(census.quarantined),
            "Rows that are not asked for": _numbers(census.filtered),
            "Tasks": _numbers({task or "(none told)": n for task, n in census.tasks.items()}),
            "How long, how large": {name: _spread(s) for name, s in spreads.items()},
            "Boxes": _numbers(asdict(census.boxes)),
            "Duplicates": _numbers(asdict(census.duplicates)),
        },
        samples=tuple(Random(seed).sample(list(checked.vetted.samples), num)),
        rejected=tuple(checked.vetted.rejected[:FAULTS_SHOWN]),
        num_rejected=len(checked.vetted.rejected),
    )


def write_data_page(page: DataPage, path: Path) -> None:
    """Writes the page to a file, whose folder exists."""
    html = environment().get_template(_TEMPLATE).render(page=page, pictures=_pictures)
    path.write_text(html, encoding="utf-8")


def _numbers(counts: Mapping[str, int]) -> dict[str, str]:
    return {name.replace("_", " "): f"{number:,}" for name, number in counts.items()}


def _spread(spread: Spread) -> str:
    if spread.median is None:
        return "none"
    return f"{spread.least:g} to {spread.greatest:g}, median {spread.median:g}"


def _pictures(sample: Sample) -> list[Markup]:
    boxes = _boxes(sample) if len(sample.images) == 1 else ()
    return [picture(path, f"Picture of {sample.id}", truth=boxes) for path in sample.images]


def _boxes(sample: Sample) -> Sequence[Box]:
    try:
        return sample.boxes
    except ValueError:  # counted among the malformed
        return ()
