"""Which rows of a data set can be used: each is tried before the first is learned from."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, final

from rich.console import Console

from isthmus.data.facts import Item
from isthmus.data.faults import Fault, Filtered
from isthmus.data.mixture.dataset import DataSet
from isthmus.data.quarantine import Rejected
from isthmus.data.sample import Sample
from isthmus.data.vetting import Check, Vetted, faults_of


@final
@dataclass(frozen=True, kw_only=True)
class Usable:
    """A data set, of which every row is used, rejected or not asked for."""

    contents: Mapping[int, Sample | Item]
    """What the rows say that can be used, by their places from 0."""
    rejected: Sequence[Rejected]
    filtered: Mapping[str, int]
    """Rows that are not asked for, by reason."""

    def vetted(self, dataset: DataSet) -> Vetted:
        """Returns the conversations that the rows make, always the same, and the rejected rows."""
        samples = [dataset.told(told, Random(0)) for told in self.contents.values()]
        return Vetted(samples=samples, rejected=self.rejected)


def usable(
    dataset: DataSet,
    *,
    check: Check,
    about: Mapping[str, Any],
    num_workers: int = 1,
    console: Console | None = None,
) -> Usable:
    """Reads every row and tries it, with a template drawn for the trial.

    Args:
        dataset: whose rows are tried.
        check: tries what is asked of a sample beyond its images, which are read in any case.
        about: all that decides the verdict of `check`.
        num_workers: threads that try.
        console: where a bar shows how far it is.
    """
    contents = [dataset.content(row) for row in range(len(dataset.rows))]
    asked = {row: told for row, told in enumerate(contents) if not isinstance(told, Filtered)}
    bad = faults_of(
        asked,
        digest=dataset.digest,
        name=dataset.name,
        check=lambda content: check(dataset.told(content, Random(0))),
        about={**about, "asking": dataset.asking.to_dict()},
        num_workers=num_workers,
        console=console,
    )
    return Usable(
        contents={
            row: told
            for row, told in asked.items()
            if row not in bad and not isinstance(told, Fault)
        },
        rejected=[
            dataset.unused(row, why, _name(asked[row])).rejected() for row, why in bad.items()
        ],
        filtered=Counter(told.reason for told in contents if isinstance(told, Filtered)),
    )


def _name(content: Sample | Item | Fault) -> str | None:
    return None if isinstance(content, Fault) else content.id
