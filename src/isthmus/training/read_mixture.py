"""From a mixture, or a file that is read as it is needed, to samples that can be drawn."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

from rich.console import Console

from isthmus.config import digest_of
from isthmus.data.mixture.balance import Balance
from isthmus.data.mixture.dataset import Unit, open_dataset, units_of
from isthmus.data.mixture.drawn import Drawn, Member
from isthmus.data.mixture.file import Mixture, MixtureEntry, read_mixture
from isthmus.data.mixture.usable import usable
from isthmus.data.quarantine import Quarantine, Rejected
from isthmus.data.vetting import check_share
from isthmus.training.data import FileData, MixtureData
from isthmus.training.examples import Examples


@final
@dataclass(frozen=True, kw_only=True)
class ReadMixture:
    """Samples that can be drawn, and where they came from."""

    drawn: Drawn
    fingerprint: str
    """Of the mixture, its files, and of which of their rows are used."""
    images: Sequence[Path]
    """Images of the rows that are used; none where nobody has looked at them yet."""
    rejected: Sequence[Rejected]
    """Rows that are not used, as far as they were looked at."""
    filtered: Mapping[str, int]
    """Rows that are not asked for, by reason, as far as they were looked at."""


def read_drawn(
    data: MixtureData | FileData,
    examples: Examples,
    *,
    seed: int,
    quarantine: Quarantine,
    num_workers: int = 0,
    console: Console | None = None,
) -> ReadMixture:
    """Opens data sets, and tries their rows unless the data is lazy.

    Args:
        data: a mixture, or a file by itself.
        examples: how the model learns from samples.
        seed: of the draws.
        quarantine: gets the faulty rows.
        num_workers: threads that try the rows.
        console: where a bar shows how far it is.

    Raises:
        ValueError: a file does not exist, a setting is unknown, too large a share of the rows of a
            data set cannot be used, or facts are to be merged that nobody has looked at.
    """
    mixture, folder = _mixture(data)
    members: list[Member] = []
    rejected: list[Rejected] = []
    filtered: Counter[str] = Counter()
    images: dict[Path, None] = {}
    digests: list[str] = [digest_of(mixture.to_dict())]
    for entry in mixture.entries:
        dataset = open_dataset(mixture, entry, folder)
        units: Sequence[Unit]
        digest = dataset.digest
        if data.lazy:
            if dataset.asking.turns > 1:
                raise ValueError(
                    f"the data set {entry.name!r} merges {dataset.asking.turns} facts about the "
                    "same images, which are known only when all its rows are; set turns to 1, or "
                    "lazy to false"
                )
            units = range(len(dataset.rows))
        else:
            tried = usable(
                dataset,
                check=examples.check,
                about={"tried": "to draw", **examples.encoding},
                num_workers=num_workers,
                console=console,
            )
            quarantine.add(tried.rejected)
            check_share(tried.rejected, len(tried.contents), data.max_bad_share)
            units = units_of(dataset, tried.contents)
            rejected += tried.rejected
            filtered += Counter(tried.filtered)
            images.update(
                dict.fromkeys(path for told in tried.contents.values() for path in told.images)
            )
            digest = digest_of([digest, [each.row for each in tried.rejected]])
        digests.append(digest)
        members.append(
            Member(dataset=dataset, units=units, weight=entry.weight, text_only=entry.text_only)
        )
    return ReadMixture(
        drawn=Drawn(members, mixture.balance, num=mixture.samples, seed=seed),
        fingerprint=digest_of(digests),
        images=list(images),
        rejected=rejected,
        filtered=filtered,
    )


def _mixture(data: MixtureData | FileData) -> tuple[Mixture, Path]:
    """Returns a mixture and the folder that its paths start from; a file is one of one data set."""
    if isinstance(data, MixtureData):
        return read_mixture(data.mixture), data.mixture.parent
    alone = MixtureEntry(
        name=data.file.stem, file=data.file.absolute(), image_root=data.image_root.absolute()
    )
    return Mixture(entries=(alone,), balance=Balance(cap=None)), Path()
