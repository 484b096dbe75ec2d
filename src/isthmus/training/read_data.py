"""From the data of a stage to samples that can all be used."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from rich.console import Console

from isthmus.config import digest_of
from isthmus.data import sources
from isthmus.data.quarantine import Quarantine, Rejected
from isthmus.data.sample import Sample
from isthmus.data.vetting import vet
from isthmus.modeling import fingerprint
from isthmus.training.data import FileData, MicroworldData
from isthmus.training.examples import Examples
from isthmus.training.resolve import microworld_files


@final
@dataclass(frozen=True, kw_only=True)
class ReadData:
    """Samples of a stage, and where they came from."""

    samples: Sequence[Sample]
    fingerprint: str
    """Of the file, and of which of its rows are used."""
    rejected: Sequence[Rejected] = ()
    """Rows that are not used."""


def read_data(
    data: FileData | MicroworldData,
    examples: Examples,
    *,
    quarantine: Quarantine | None = None,
    num_workers: int = 0,
    console: Console | None = None,
) -> ReadData:
    """Reads the samples of a stage; faulty rows of a user's file are left out and accounted for.

    Args:
        data: where they are.
        examples: how the model learns from them.
        quarantine: gets the faulty rows.
        num_workers: threads that try the rows.
        console: where a bar shows how far it is.

    Raises:
        ValueError: too large a share of the rows cannot be used.
    """
    rejected: Sequence[Rejected] = ()
    if isinstance(data, FileData):
        vetted = vet(
            data.file,
            data.image_root,
            check=examples.check,
            about={"tried": "to learn from", **examples.encoding},
            num_workers=num_workers,
            console=console,
        )
        if quarantine is not None:
            quarantine.add(vetted.rejected)
        vetted.check_share(data.max_bad_share)
        samples, rejected, file = vetted.samples, vetted.rejected, data.file
    else:  # written by ourselves
        files = microworld_files(data)
        samples, file = list(sources.read(files.file, files.image_root)), files.file
    name = fingerprint.of_files([file])
    if rejected:
        name = digest_of([name, [each.row for each in rejected]])
    return ReadData(samples=samples, fingerprint=name, rejected=rejected)
