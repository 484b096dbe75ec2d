"""The samples of a mixture, by epoch and number."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import final

import numpy as np

from isthmus.data.faults import Fault, Filtered
from isthmus.data.mixture.balance import Balance, Weighed, shares
from isthmus.data.mixture.dataset import DataSet, Unit, Unused
from isthmus.data.mixture.draws import Draw, Draws
from isthmus.data.rows import LazyRows
from isthmus.data.sample import Sample


@final
@dataclass(frozen=True, kw_only=True)
class Member:
    """A data set of a mixture, and what is drawn of it."""

    dataset: DataSet
    units: Sequence[Unit]
    weight: float | None = None
    text_only: bool = False


@final
class Drawn:
    """Samples that are drawn from data sets by their shares, each made when it is asked for."""

    def __init__(self, members: Sequence[Member], balance: Balance, *, num: int | None, seed: int):
        """Plans the draws.

        Args:
            members: the data sets.
            balance: how their shares follow.
            num: draws of an epoch; as many as there are units when None.
            seed: source of chance.

        Raises:
            ValueError: the shares cannot be had of these data sets.
        """
        self.members = tuple(members)
        sizes = [len(member.units) for member in members]
        self.shares = shares([_weighed(member) for member in members], balance)
        self.num = sum(sizes) if num is None else num
        blocks = {
            number: ends
            for number, member in enumerate(members)
            if (ends := _blocks(member)) is not None
        }
        self._draws = Draws(sizes, self.shares, num=self.num, seed=seed, blocks=blocks)

    def draw(self, epoch: int, number: int) -> Draw:
        """Returns what is drawn, both counted from 0; only one thread may ask for it."""
        return self._draws.draw(epoch, number)

    def sample(self, draw: Draw) -> Sample | Unused:
        """Returns the sample that was drawn, or why there is none."""
        member = self.members[draw.dataset]
        return member.dataset.sample(member.units[draw.row], Random(draw.chance))

    def unused(self, draw: Draw, why: Fault | Filtered, name: str) -> Unused:
        """Returns the record of a draw that cannot be learned from.

        Args:
            draw: what was drawn.
            why: is wrong with it.
            name: of its sample.
        """
        member = self.members[draw.dataset]
        return member.dataset.unused(member.units[draw.row], why, name)


def _weighed(member: Member) -> Weighed:
    return Weighed(
        name=member.dataset.name,
        size=len(member.units),
        task=_task(member),
        weight=member.weight,
        text_only=member.text_only,
    )


def _blocks(member: Member) -> np.ndarray | None:
    """Returns where among the units of a data set the blocks of its rows begin, if it has some."""
    rows = member.dataset.rows
    ends = rows.blocks() if isinstance(rows, LazyRows) else None
    if ends is None or not all(isinstance(unit, int) for unit in member.units):
        return None
    return np.unique(np.searchsorted(np.asarray(member.units), ends))


def _task(member: Member) -> str:
    """Returns what a data set trains, as it says or as its first row does."""
    if member.dataset.task is not None:
        return member.dataset.task
    for unit in member.units:
        content = member.dataset.content(unit) if isinstance(unit, int) else unit.first
        if not isinstance(content, Fault | Filtered):
            return content.task
    return ""
