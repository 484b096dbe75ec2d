"""A data set of a mixture, opened: its rows as they lie, and the samples that are made of them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any, final

from isthmus.data.facts import Item
from isthmus.data.faults import Fault, Filtered
from isthmus.data.mixture.clips import framed
from isthmus.data.mixture.file import Asking, Mixture, MixtureEntry
from isthmus.data.quarantine import Rejected
from isthmus.data.rows import LazyRows, number_of
from isthmus.data.sample import Sample
from isthmus.data.sources._listed import matching
from isthmus.data.sources._named import load_reader
from isthmus.data.sources.base import Reader
from isthmus.data.templates.instruct import Instructions
from isthmus.data.templates.merging import Merged, merged
from isthmus.data.templates.template import TemplateSet, template_set
from isthmus.geometry.box_text import convention

Content = Sample | Item | Fault | Filtered
Unit = int | Merged
"""What is drawn at once: a row, counted from 0, or facts of several."""


@final
@dataclass(frozen=True, slots=True)
class Unused:
    """A row that is not learned from."""

    id: str
    file: str
    row: int
    """Number of the row, from 1; 0 where facts of several were merged."""
    why: Fault | Filtered

    def rejected(self) -> Rejected:
        """Returns the record of a row with a fault, as the quarantine keeps it."""
        return Rejected(
            id=self.id,
            file=self.file,
            row=self.row,
            reason=self.why.reason,
            message=str(self.why),
        )


@final
@dataclass(frozen=True, kw_only=True)
class DataSet:
    """The rows of a data set, each read when it is asked for, and how they are asked."""

    name: str
    file: str
    """Where it lies, for errors."""
    reader: Reader
    rows: Sequence[Any]
    image_root: Path
    asking: Asking
    instructions: Instructions
    digest: str
    """Changes with its files: their names, sizes and times, or the version on the hub."""
    task: str | None = None

    def content(self, row: int) -> Content:
        """Returns what a row says, or why it says nothing; rows are counted from 0."""
        name = f"{self.name}-{number_of(self.rows, row)}"
        try:
            told = self.reader.content(self.rows[row], name=name, image_root=self.image_root)
            if isinstance(told, Item):
                told = framed(told, self.asking)
        except (Fault, Filtered) as why:
            return why
        return told if self.task is None else replace(told, task=self.task)

    def told(self, content: Sample | Item, chance: Random) -> Sample:
        """Returns the conversation that a row's content makes.

        Raises:
            Fault: it cannot be written.
        """
        told = content if isinstance(content, Sample) else self.instructions.sample(content, chance)
        return told.styled(self.asking.style)

    def sample(self, unit: Unit, chance: Random) -> Sample | Unused:
        """Returns the conversation that is drawn, or why there is none."""
        content = unit.drawn(chance) if isinstance(unit, Merged) else self.content(unit)
        if isinstance(content, Fault | Filtered):
            return self.unused(unit, content)
        try:
            return self.told(content, chance)
        except Fault as fault:
            return self.unused(unit, fault, content.id)

    def unused(self, unit: Unit, why: Fault | Filtered, name: str | None = None) -> Unused:
        """Returns the record of what is not learned from."""
        row = 0 if isinstance(unit, Merged) else number_of(self.rows, unit)
        return Unused(name or f"{self.name}-{row}", self.file, row, why)


def open_dataset(mixture: Mixture, entry: MixtureEntry, folder: Path) -> DataSet:
    """Opens a data set of a mixture.

    Args:
        mixture: says how data sets are asked.
        entry: the data set.
        folder: from which its paths start.

    Raises:
        ValueError: a file does not exist, or a setting is unknown.
    """
    try:
        reader = load_reader(entry.source, **entry.options)
        files = _files(entry, reader, folder)
        first = next(iter(files.values()))
        # A pattern may begin above the files, and what is on the hub lies nowhere yet.
        above = next((path for path in first.parents if path.is_dir()), folder)
        root = above if entry.image_root is None else folder / entry.image_root
        if not root.is_dir():
            raise ValueError(f"the image root {root} does not exist")
        asking = mixture.asking_of(entry)
        rows = reader.rows(files)
        return DataSet(
            name=entry.name,
            file=str(first),
            reader=reader,
            rows=rows,
            image_root=root,
            asking=asking,
            instructions=Instructions(
                name=entry.name,
                template=_template(entry),
                granularity=asking.granularity,
                diversity=asking.diversity,
                identifier=asking.identifier,
                shuffle=asking.shuffle,
                write_boxes=convention(asking.boxes).write,
            ),
            digest=_digest(files.values(), rows),
            task=entry.task,
        )
    except ValueError as error:
        raise ValueError(f"the data set {entry.name!r}: {error}") from error


def _files(entry: MixtureEntry, reader: Reader, folder: Path) -> Mapping[str, Path]:
    given = entry.files or ({} if entry.file is None else {"file": entry.file})
    if set(given) != set(reader.files):
        raise ValueError(
            f"has the files {', '.join(given)}; expected {', '.join(reader.files)} of its source"
        )
    return {name: folder / path for name, path in given.items()}


def _digest(files: Iterable[Path], rows: Sequence[Any]) -> str:
    whole = sha256(rows.digest.encode() if isinstance(rows, LazyRows) else b"")
    for named in files:
        for path in sorted(named.rglob("*")) if named.is_dir() else _matching(named):
            stat = path.stat()
            whole.update(f"{path} {stat.st_size} {stat.st_mtime_ns};".encode())
    return whole.hexdigest()


def _matching(named: Path) -> Sequence[Path]:
    try:
        return matching(named)
    except ValueError:  # a data set on the hub lies nowhere
        return []


def _template(entry: MixtureEntry) -> TemplateSet | None:
    if isinstance(entry.template, dict):
        return TemplateSet.from_dict(entry.name, entry.template)
    return None if entry.template is None else template_set(entry.template)


def units_of(dataset: DataSet, contents: Mapping[int, Sample | Item]) -> Sequence[Unit]:
    """Returns what is drawn of a data set, of which these rows can be used.

    Facts about the same images are one unit where several turns are asked for; every conversation
    is one of its own.
    """
    asking = dataset.asking
    if asking.turns == 1:
        return list(contents)
    items = [content for content in contents.values() if isinstance(content, Item)]
    whole = [row for row, content in contents.items() if isinstance(content, Sample)]
    return [*whole, *merged(items, turns=asking.turns, deduplicate=asking.deduplicate)]
