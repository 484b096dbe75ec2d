"""Rows of images and captions -> a data file of grounded captions.

Each row is filtered, then grounded, and what became of it is noted in a journal; when the last one
is, the choice among them is made and the file written whole. So a run that was killed goes on where
it was, and ends with the same file. Every row is accounted for: seen = filtered + quarantined +
dropped + kept.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, final

from rich.console import Console
from rich.progress import track

from isthmus.config import Config, digest_of
from isthmus.data.building.box_share import BoxShare, plan_box_share
from isthmus.data.building.detector import Detector
from isthmus.data.building.filters import AnyFilter, Row, Sieve, column
from isthmus.data.building.grounding import GroundedCaption, Limits, check_caption, ground_caption
from isthmus.data.building.journal import Journal, line_of, write_lines
from isthmus.data.building.phrases import NounPhrases
from isthmus.data.faults import Fault
from isthmus.data.images import check_image, upright_size
from isthmus.data.sources.base import expect, image_paths

TASK = "grounded_caption"


@final
@dataclass(frozen=True, kw_only=True)
class Columns(Config):
    """Where a row holds what is needed."""

    id: str = "id"
    image: str = "image"
    """A path below the image root."""
    caption: str = "caption"


@final
@dataclass(frozen=True, kw_only=True)
class Settings(Config):
    """What is built."""

    columns: Columns = field(default_factory=Columns)
    filters: tuple[AnyFilter, ...] = ()
    """Asked in this order, before the image is opened."""
    limits: Limits = field(default_factory=Limits)
    share: float = 0.75
    """Least share of the images that have `boxes` boxes or more (CogVLM: 75 % with two)."""
    boxes: int = 2
    seed: int = 0
    """Of the choice among the images with fewer."""
    prompt: str = "Describe the image and give the box of each thing that you name."
    """The question before each grounded caption; empty leaves the image alone."""
    chunk: int = 100
    """Rows after which the journal is brought to the disk."""

    def __post_init__(self) -> None:
        """Checks the numbers before hours of work are built on them.

        Raises:
            ValueError: one makes no sense.
        """
        plan_box_share((), share=self.share, boxes=self.boxes)
        if self.chunk < 1:
            raise ValueError(f"chunk is {self.chunk}; expected 1 or more")


@final
@dataclass(frozen=True, kw_only=True)
class Built:
    """What became of the rows, and of what was found in those that were grounded."""

    seen: int
    filtered: Mapping[str, int]
    """Rows by the filter that they did not pass."""
    quarantined: Mapping[str, int]
    """Rows that cannot be used, by reason."""
    dropped: Mapping[str, int]
    """Grounded rows that were not chosen, by reason."""
    kept: int
    """Rows of the data file."""
    share: float | None
    """Share of them with enough boxes; None where there is none."""
    boxes: Mapping[str, int]
    """Detections of all grounded rows: those kept, and the others by reason."""
    phrases: Mapping[str, int]
    """Noun phrases of all grounded rows: those kept, and the others by reason."""

    def to_dict(self) -> dict[str, Any]:
        """Returns the counts as JSON-able values."""
        return asdict(self)


def build(
    rows: Iterable[Row],
    phrases: NounPhrases,
    detector: Detector,
    output: Path,
    *,
    image_root: Path,
    settings: Settings | None = None,
    console: Console | None = None,
) -> Built:
    """Writes a data file of grounded captions; goes on where it was left.

    Paper: CogVLM, arXiv 2311.03079, section 2.2 (there spaCy and GLIPv2).

    Args:
        rows: each with an id, an image and a caption, and the columns of the filters. A run that
            goes on has to be given the same rows in the same order.
        phrases: finds what a caption names.
        detector: finds it in the image.
        output: JSON lines of messages, with the boxes in original pixels in their `meta`. Beside
            it stand `.provenance.json`, which tells what made it and the counts, and
            `.quarantine.jsonl` when rows could not be used; `.journal.jsonl` until it is done.
        image_root: folder in which every image lies.
        settings: what is built.
        console: where a bar shows how far it is.

    Raises:
        ValueError: the output is there, or was begun with other rows or settings; or a row lacks a
            column.
    """
    settings = settings or Settings()
    about = {
        "isthmus": version("isthmus"),
        "settings": settings.to_dict(),
        "phrases": phrases.identity,
        "detector": detector.identity,
    }
    sieve = Sieve(settings.filters)
    journal_file = output.with_suffix(".journal.jsonl")
    if output.exists() and not journal_file.exists():
        raise ValueError(f"{output} is there already; choose another file, or delete it")
    journal = Journal(journal_file, about)
    bar = track(
        rows, description="grounding", console=console, transient=True, disable=console is None
    )
    passing = sieve.passing(bar)
    _skip_noted(journal, passing, settings.columns)
    made = (_entry(n, row, phrases, detector, image_root, settings) for n, row in passing)
    journal.extend(made, every=settings.chunk)
    built = _written(journal, output, sieve, settings, about)
    journal_file.unlink()
    return built


def _skip_noted(journal: Journal, passing: Iterator[tuple[int, Row]], columns: Columns) -> None:
    """Leaves the rows that are still to be done."""
    for entry in journal:
        number, row = next(passing, (0, None))
        if row is None or entry["key"] != _key(number, row, columns):
            raise ValueError(
                f"{journal.path} was begun with other rows: its row {entry['row']}, "
                f"{entry['id']!r}, is not there now; give the same again, or choose another file"
            )


def _key(number: int, row: Row, columns: Columns) -> str:
    return digest_of([number, *(str(column(row, n)) for n in columns.to_dict().values())])


def _entry(
    number: int,
    row: Row,
    phrases: NounPhrases,
    detector: Detector,
    image_root: Path,
    settings: Settings,
) -> dict[str, Any]:
    """Returns what became of a row."""
    columns = settings.columns
    name = str(column(row, columns.id)).encode(errors="replace").decode()
    noted = {"key": _key(number, row, columns), "row": number, "id": name}
    try:
        image = _text(column(row, columns.image), "an image")
        (path,) = image_paths(image, image_root)
        check_image(path)
        caption = _caption(column(row, columns.caption))
        spans = phrases.spans(caption)
        named = [span.of(caption) for span in spans]
        found = detector.detect(path, named) if named else []
        grounded = ground_caption(
            caption, spans, found, size=upright_size(path), limits=settings.limits
        )
    except Fault as fault:
        return {**noted, "reason": fault.reason, "message": str(fault)}
    return {
        **noted,
        "num_boxes": len(grounded.boxes),
        "boxes": {"kept": sum(len(p.boxes) for p in grounded.phrases), **grounded.dropped_boxes},
        "phrases": {"kept": len(grounded.phrases), **grounded.dropped_phrases},
        "sample": _sample(name, image, grounded, settings.prompt),
    }


def _caption(value: Any) -> str:
    """Returns a caption on one line, fit for boxes."""
    caption = " ".join(_text(value, "a caption").split())
    if not caption:
        raise Fault("empty_answer", "the caption is empty; a sample needs words to learn")
    check_caption(caption)
    return caption


def _text(value: Any, what: str) -> str:
    text = expect(value, str, what)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise Fault("broken_json", f"{what} is not text ({error})") from error
    return text


def _sample(name: str, image: str, grounded: GroundedCaption, prompt: str) -> dict[str, Any]:
    """Returns a row that the messages layout reads."""
    asked = [{"type": "text", "text": prompt}] if prompt else []
    return {
        "id": name,
        "task": TASK,
        "images": [image],
        "messages": [
            {"role": "user", "content": [{"type": "image"}, *asked]},
            {"role": "assistant", "content": grounded.text},
        ],
        "meta": {
            "caption": grounded.caption,
            "size": grounded.size,
            "boxes": grounded.boxes,
            "phrases": [
                {
                    "start": phrase.span.start,
                    "end": phrase.span.end,
                    "boxes": phrase.boxes,
                    "scores": phrase.scores,
                }
                for phrase in grounded.phrases
            ],
        },
    }


def _written(
    journal: Journal, output: Path, sieve: Sieve, settings: Settings, about: Mapping[str, Any]
) -> Built:
    """Writes the files from a journal that is whole, the data file last."""
    grounded = ((e["id"], e["num_boxes"]) for e in journal if "sample" in e)
    plan = plan_box_share(grounded, share=settings.share, boxes=settings.boxes, seed=settings.seed)
    quarantined, boxes, phrases = Counter[str](), Counter[str](), Counter[str]()
    for entry in journal:
        if "sample" in entry:
            boxes.update(entry["boxes"])
            phrases.update(entry["phrases"])
        else:
            quarantined[entry["reason"]] += 1
    dropped: dict[str, int] = {
        reason: count for reason, count in plan.counts.items() if reason != "kept"
    }
    built = Built(
        seen=sieve.seen,
        filtered=sieve.filtered,
        quarantined=dict(quarantined),
        dropped=dropped,
        kept=plan.counts["kept"],
        share=plan.share,
        boxes=dict(boxes),
        phrases=dict(phrases),
    )
    if quarantined:
        faults = ({k: e[k] for k in _FAULT} for e in journal if "sample" not in e)
        write_lines(output.with_suffix(".quarantine.jsonl"), map(line_of, faults))
    made = json.dumps({**about, "counts": built.to_dict()}, indent=2)
    write_lines(output.with_suffix(".provenance.json"), [f"{made}\n".encode()])
    write_lines(output, _chosen(journal, plan))
    return built


_FAULT = ("id", "row", "reason", "message")


def _chosen(journal: Journal, plan: BoxShare) -> Iterator[bytes]:
    for entry in journal:
        if "sample" in entry and plan.verdict(entry["id"], entry["num_boxes"]) == "kept":
            yield line_of(entry["sample"])
