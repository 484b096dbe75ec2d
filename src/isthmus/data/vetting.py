"""Which rows of a user's file can be used: each is tried before the first is learned from.

Trying takes as long as one pass over the images. What was found is kept in the cache until the
file, one of its images or the way of encoding changes, so a resumed run does not try again.
"""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast, final

from rich.console import Console
from rich.progress import track

from isthmus.config import DIGEST_LENGTH
from isthmus.data.ahead import made_ahead
from isthmus.data.cache import cache_root
from isthmus.data.facts import Item
from isthmus.data.faults import Fault
from isthmus.data.images import check_image
from isthmus.data.media import stat_of
from isthmus.data.processor import Processor
from isthmus.data.quarantine import Quarantine, Rejected, counts_of
from isthmus.data.sample import Sample
from isthmus.data.sources import entries

MAX_BAD_SHARE = 0.05
"""Share of faulty rows above which something is wrong with the whole file, and not with rows."""

Check = Callable[[Sample], object]
"""Tries a sample; raises a `Fault` when it cannot be used."""


@final
@dataclass(frozen=True, kw_only=True)
class Vetted:
    """A data file, of which every row is either used or accounted for."""

    samples: Sequence[Sample]
    rejected: Sequence[Rejected] = ()

    @property
    def counts(self) -> dict[str, int]:
        """Rejected rows by reason, the most frequent first."""
        return counts_of(self.rejected)

    def check_share(self, max_bad_share: float) -> None:
        """Checks that the file as a whole is sound.

        Raises:
            ValueError: a larger share of its rows is faulty, or none is left.
        """
        check_share(self.rejected, len(self.samples), max_bad_share)

    def write(self, folder: Path) -> None:
        """Adds the rejected rows to those that a folder names already; each stands there once."""
        Quarantine(folder).add(self.rejected)


def check_share(rejected: Sequence[Rejected], num_used: int, max_bad_share: float) -> None:
    """Checks that a data set as a whole is sound.

    Args:
        rejected: rows of it that cannot be used.
        num_used: rows that can.
        max_bad_share: of all these, those that may be faulty.

    Raises:
        ValueError: a larger share is faulty, or none is left.
    """
    bad, seen = len(rejected), len(rejected) + num_used
    if bad <= max_bad_share * seen and num_used:
        return
    if not rejected:
        raise ValueError("of a data set no row is asked for; leave it out, or ask for others")
    first = rejected[0]
    reasons = ", ".join(f"{count} {reason}" for reason, count in counts_of(rejected).items())
    raise ValueError(
        f"{first.file}: {bad} of {seen} rows cannot be used ({reasons}), more than the share "
        f"of {max_bad_share:g}; the first is row {first.row}: {first.message}. Mend the file, "
        "or allow more with --max-bad-share"
    )


def vet(
    file: Path,
    image_root: Path,
    *,
    check: Check,
    about: Mapping[str, Any],
    num_workers: int = 1,
    console: Console | None = None,
) -> Vetted:
    """Reads a data file and tries every row.

    Args:
        file: JSON array or JSON lines of rows.
        image_root: folder in which the images of every row lie.
        check: tries what is asked of a sample beyond its images, which are read in any case.
        about: all that decides the verdict of `check`.
        num_workers: threads that try.
        console: where a bar shows how far it is.

    Raises:
        ValueError: the file does not exist, holds no row, or is an array that is no JSON.
    """
    rows = list(entries(file, image_root))
    bad = faults_of(
        {row.row: row.content for row in rows},
        digest=sha256(file.read_bytes()).hexdigest(),
        name=file.name,
        check=check,
        about=about,
        num_workers=num_workers,
        console=console,
    )
    return Vetted(
        samples=[cast(Sample, row.content) for row in rows if row.row not in bad],
        rejected=[
            Rejected(
                id=row.id,
                file=str(file),
                row=row.row,
                reason=bad[row.row].reason,
                message=str(bad[row.row]),
            )
            for row in rows
            if row.row in bad
        ],
    )


def faults_of(
    rows: Mapping[int, Sample | Item | Fault],
    *,
    digest: str,
    name: str,
    check: Callable[[Any], object],
    about: Mapping[str, Any],
    num_workers: int = 1,
    console: Console | None = None,
) -> dict[int, Fault]:
    """Tries every row of a data set, or remembers what was found before.

    Args:
        rows: what each row says, by its number.
        digest: changes with the files that they were read from.
        name: what the bar calls them.
        check: tries what is asked of a row beyond its images, which are read in any case.
        about: all that decides the verdict of `check`.
        num_workers: threads that try.
        console: where a bar shows how far it is.

    Returns:
        What is wrong with rows, by their numbers.
    """
    kept = cache_root() / "vetted" / f"{_verdict_name(digest, rows, about)}.json"
    if kept.exists():
        faults = json.loads(kept.read_text(encoding="utf-8"))
    else:
        tried = made_ahead(_Trial(check), rows.values(), num_workers)
        bar = track(
            tried,
            description=f"trying the rows of {name}",
            total=len(rows),
            console=console,
            transient=True,
            disable=console is None,
        )
        faults = [[row, f.reason, str(f)] for row, f in zip(rows, bar, strict=True) if f]
        kept.parent.mkdir(parents=True, exist_ok=True)
        unfinished = kept.with_suffix(f".{os.getpid()}")
        unfinished.write_text(json.dumps(faults), encoding="utf-8")
        unfinished.replace(kept)
    return {number: Fault(reason, message) for number, reason, message in faults}


def encoding_of(processor: Processor, max_length: int | None) -> dict[str, Any]:
    """Returns all that decides whether a conversation can be encoded, to tell `vet` about."""
    vocabulary = processor.tokenizer.backend_tokenizer.to_str()
    return {
        "tokenizer": sha256(vocabulary.encode()).hexdigest(),
        "special_tokens": processor.tokenizer.special_tokens_map,
        "image_token": processor.image_token,
        "chat_template": processor.chat_template,
        "num_image_tokens": processor.num_image_tokens,
        "is_encoder_decoder": processor.is_encoder_decoder,
        "max_tiles": processor.max_tiles,
        "max_length": max_length,
    }


@final
class _Trial:
    """Tries rows; an image that several rows show is read once."""

    def __init__(self, check: Callable[[Any], object]):
        self._check = check
        self._images: dict[Path, Fault | None] = {}

    def __call__(self, content: Sample | Item | Fault) -> Fault | None:
        """Returns what is wrong with a row."""
        if isinstance(content, Fault):
            return content
        for path in content.images:
            if path not in self._images:
                self._images[path] = _fault_of(check_image, path)
            if fault := self._images[path]:
                return fault
        return _fault_of(self._check, content)


def _fault_of(check: Callable[[Any], object], value: Any) -> Fault | None:
    try:
        check(value)
    except Fault as fault:
        return fault
    return None


def _verdict_name(
    digest: str, rows: Mapping[int, Sample | Item | Fault], about: Mapping[str, Any]
) -> str:
    """Returns a name that changes with the files, the images and the way they are tried."""
    whole = sha256(digest.encode())
    whole.update(json.dumps({**about, "isthmus": version("isthmus")}, sort_keys=True).encode())
    for row, content in rows.items():
        if isinstance(content, Fault):
            whole.update(f"{row} {content.reason};".encode())
            continue
        for path in content.images:
            size, mtime_ns = stat_of(path)
            whole.update(f"{path} {size} {mtime_ns};".encode())
    return whole.hexdigest()[:DIGEST_LENGTH]
