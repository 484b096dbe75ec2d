"""What a data file holds, and what is wrong with it: counted over every row, whatever is found.

A run refuses a file of which a large share cannot be used. This tells why, so it never stops.
"""

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from types import MappingProxyType
from typing import Any, final

from rich.console import Console

from isthmus.data.images import upright_size
from isthmus.data.media import digest_of
from isthmus.data.mixture.dataset import DataSet
from isthmus.data.mixture.usable import usable
from isthmus.data.sample import Sample
from isthmus.data.vetting import Vetted, vet
from isthmus.geometry.boxes import Box, intersection, parse_boxes

_ABOUT = {"tried": "to check"}
_LEAST_AREA = 1e-4
"""Share of a picture below which a box is hardly more than a point."""


@final
@dataclass(frozen=True, kw_only=True)
class Spread:
    """Least, middle and greatest of some numbers; all None where there are none."""

    least: float | None
    median: float | None
    greatest: float | None

    @classmethod
    def of(cls, numbers: Iterable[float]) -> "Spread":
        """Returns the spread of numbers."""
        found = sorted(numbers)
        if not found:
            return cls(least=None, median=None, greatest=None)
        return cls(least=found[0], median=median(found), greatest=found[-1])


@final
@dataclass(frozen=True, kw_only=True)
class Lengths:
    """How long the usable samples are."""

    turns: Spread
    """Answers of a sample."""
    images: Spread
    """Images of a sample."""
    question_words: Spread
    answer_words: Spread


@final
@dataclass(frozen=True, kw_only=True)
class BoxCounts:
    """Whether boxes can be right. Boxes of `meta` are in original pixels."""

    boxes: int
    malformed: int
    """Samples whose `meta.boxes` is no list of boxes; theirs are not counted."""
    outside: int
    """Boxes that leave their picture, which those of another frame or order mostly do."""
    tiny: int
    """Boxes of less than a ten-thousandth of their picture."""
    written: int
    """Boxes that stand in answers, as `[[x0,y0,x1,y1]]`."""
    unread: int
    """Pieces of answers that begin as a box and cannot be read as one."""


@final
@dataclass(frozen=True, kw_only=True)
class Duplicates:
    """What is there again; the first of its kind is not counted."""

    ids: int
    images: int
    """Image files with the content of another."""
    samples: int
    """Samples with the images and words of another."""


@final
@dataclass(frozen=True, kw_only=True)
class Census:
    """What a data file holds."""

    seen: int
    """Rows of the file."""
    usable: int
    quarantined: Mapping[str, int]
    """Rows that cannot be used, by reason."""
    filtered: Mapping[str, int]
    """Rows that are not asked for, by reason."""
    tasks: Mapping[str, int]
    """Usable samples by task; the name is empty where a row tells none."""
    lengths: Lengths
    image_files: int
    """Different files that the usable samples show."""
    image_width: Spread
    image_height: Spread
    boxes: BoxCounts
    duplicates: Duplicates

    def to_dict(self) -> dict[str, Any]:
        """Returns the counts as JSON-able values."""
        return asdict(self)


@final
@dataclass(frozen=True, kw_only=True)
class Checked:
    """A data file, checked."""

    census: Census
    vetted: Vetted
    """Its samples that can be used, and the rows that cannot."""


def check(file: Path, image_root: Path, *, console: Console | None = None) -> Checked:
    """Reads every row of a data file and each of its images, and counts what is found.

    Whether a language model can take a conversation depends on the model, and is not asked here.

    Args:
        file: JSON array or JSON lines of rows.
        image_root: folder in which the images of every row lie.
        console: where a bar shows how far it is.

    Raises:
        ValueError: the file does not exist, holds no row, or is an array that is no JSON.
    """
    vetted = vet(file, image_root, check=_nothing, about=_ABOUT, console=console)
    return Checked(census=_census(vetted), vetted=vetted)


def check_dataset(dataset: DataSet, *, console: Console | None = None) -> Checked:
    """Does the same for a data set of a mixture, whose facts are told by the first template.

    Args:
        dataset: opened.
        console: where a bar shows how far it is.
    """
    tried = usable(dataset, check=_nothing, about=_ABOUT, console=console)
    vetted = tried.vetted(dataset)
    return Checked(census=_census(vetted, tried.filtered), vetted=vetted)


def _census(vetted: Vetted, filtered: Mapping[str, int] = MappingProxyType({})) -> Census:
    samples = vetted.samples
    paths = list(dict.fromkeys(path for sample in samples for path in sample.images))
    sizes = {path: upright_size(path) for path in paths}
    return Census(
        seen=len(samples) + len(vetted.rejected) + sum(filtered.values()),
        usable=len(samples),
        quarantined=vetted.counts,
        filtered=dict(filtered),
        tasks=dict(Counter(sample.task for sample in samples).most_common()),
        lengths=_lengths(samples),
        image_files=len(paths),
        image_width=Spread.of(width for width, _ in sizes.values()),
        image_height=Spread.of(height for _, height in sizes.values()),
        boxes=_boxes(samples, sizes),
        duplicates=Duplicates(
            ids=_repeats(sample.id for sample in samples),
            images=_repeats(digest_of(path) for path in paths),
            samples=_repeats((sample.images, sample.messages) for sample in samples),
        ),
    )


def _nothing(sample: Sample) -> None:
    """Tries nothing beyond the row and its images, which are read in any case."""


def _lengths(samples: Sequence[Sample]) -> Lengths:
    words = {role: [] for role in ("system", "user", "assistant")}  # type: dict[str, list[int]]
    for sample in samples:
        for message in sample.messages:
            words[message.role].append(len(message.text.split()))
    return Lengths(
        turns=Spread.of(sum(m.role == "assistant" for m in s.messages) for s in samples),
        images=Spread.of(len(sample.images) for sample in samples),
        question_words=Spread.of(words["user"]),
        answer_words=Spread.of(words["assistant"]),
    )


def _boxes(samples: Sequence[Sample], sizes: Mapping[Path, tuple[int, int]]) -> BoxCounts:
    counts: Counter[str] = Counter()
    for sample in samples:
        for message in sample.messages:
            if message.role == "assistant":
                # Percent or per mille: the text does not say which, but only one of them is read.
                told = (parse_boxes(message.text, digits=digits) for digits in (2, 3))
                found = min(told, key=lambda each: len(each.unread))
                counts["written"] += len(found.boxes)
                counts["unread"] += len(found.unread)
        try:
            boxes = sample.boxes
        except ValueError:
            counts["malformed"] += 1
            continue
        counts["boxes"] += len(boxes)
        if len(sample.images) == 1:  # else nobody knows which one they belong to
            size = sizes[sample.images[0]]
            counts["outside"] += sum(_leaves(box, size) for box in boxes)
            counts["tiny"] += sum(_is_tiny(box, size) for box in boxes)
    return BoxCounts(**{name: counts[name] for name in BoxCounts.__dataclass_fields__})


def _leaves(box: Box, size: tuple[int, int]) -> bool:
    return intersection(box, (0, 0, *size)) != tuple(map(float, box))


def _is_tiny(box: Box, size: tuple[int, int]) -> bool:
    x0, y0, x1, y1 = box
    return (x1 - x0) * (y1 - y0) < _LEAST_AREA * size[0] * size[1]


def _repeats(values: Iterable[Hashable]) -> int:
    counts = Counter(values)
    return counts.total() - len(counts)
