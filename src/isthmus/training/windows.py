"""A course over samples that are made when they are due: those of a mixture, or of a large file.

Nothing is kept beyond a window and the one after it, so memory does not grow with the data. What
cannot be learned from shows when its window is made, a damaged picture when its batch is; both are
quarantined and counted, and the run goes on without them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

from isthmus.data.dataset import ConversationDataset, Features
from isthmus.data.faults import Fault
from isthmus.data.mixture.dataset import Unused
from isthmus.data.mixture.drawn import Drawn
from isthmus.data.mixture.draws import Draw
from isthmus.data.order import even_batches
from isthmus.data.packing import WINDOW as PACKED_WINDOW
from isthmus.data.packing import PackedDataset, Packing
from isthmus.data.quarantine import Quarantine
from isthmus.data.sample import Sample
from isthmus.training.course import Course, Window
from isthmus.training.examples import Dataset, Examples, Tried

WINDOW = 32
"""Batches of a window, within which samples are sorted by length."""

Parts = Callable[[Sample], Sequence[Sample]]
"""What is learned from in place of a sample: itself, without its images, or its answers apart."""


@final
@dataclass(frozen=True, kw_only=True)
class Windows(Course):
    """Samples that are drawn by their shares, made, tried and put into batches a window at a time.

    The very first batch of all is the largest of its window, so that memory which does not suffice
    shows soon.
    """

    drawn: Drawn
    examples: Examples
    parts: Parts
    features: Features | None
    """Looked up instead of reading pixels."""
    batch_size: int
    """Rows of a batch."""
    packing: Packing | None
    """How much a row holds; None gives each sample a row."""
    seed: int
    """Source of the order within a window."""
    quarantine: Quarantine
    max_bad_share: float
    """Of the samples of a window that may have a fault."""
    tried_before: bool
    """Whether all rows were tried before the first step."""
    is_main: bool = True
    """Whether this process is the one that writes for all."""

    @property
    def num_samples(self) -> int:
        """Samples that an epoch draws."""
        return self.drawn.num

    @property
    def num_rows(self) -> int:
        """The same; how many share a row shows when a window is made."""
        return self.drawn.num

    def window(self, number: int) -> Window:
        """Makes a window.

        Raises:
            ValueError: too many of its samples have a fault.
        """
        epoch, place = divmod(number, self.num_windows)
        numbers = range(place * self._size, min((place + 1) * self._size, self.drawn.num))
        unused: list[Unused] = []
        samples: list[Sample] = []
        origin: list[Draw] = []
        for draw in (self.drawn.draw(epoch, each) for each in numbers):
            made = self.drawn.sample(draw)
            if isinstance(made, Unused):
                unused.append(made)
                continue
            parts = self.parts(made)
            samples += parts
            origin += [draw] * len(parts)

        def record(index: int, why: Fault) -> Unused:
            return self.drawn.unused(origin[index], why, samples[index].id)

        def on_fault(example: int, why: Fault) -> None:
            self.quarantine.add([record(tried.origin[example], why).rejected()])

        tried = self.examples.tried(samples, self.features, on_fault)
        unused += [record(index, why) for index, why in tried.faults.items()]
        faulty = [each for each in unused if isinstance(each.why, Fault)]
        refused = len(faulty)
        if self.is_main:  # every process makes the window
            self.quarantine.add(each.rejected() for each in faulty)
        self._check_share(refused, len(numbers), unused)
        dataset, batches = self._batched(tried, number, len(numbers))
        return Window(
            dataset=dataset,
            batches=batches,
            refused=refused,
            filtered=len(unused) - refused,
        )

    def num_steps(self, epochs: int) -> int:
        """Returns the batches of so many epochs; with rows of several samples, all are planned.

        Raises:
            ValueError: rows are packed from samples that nobody has seen yet.
        """
        if self.packing is None:
            sizes = [
                min(self._size, self.drawn.num - start)
                for start in range(0, self.drawn.num, self._size)
            ]
            return epochs * sum(-(-size // self.batch_size) for size in sizes)
        if not self.tried_before:
            raise ValueError(
                "how many steps an epoch has is not known before its samples are packed; give the "
                "schedule's steps in place of epochs"
            )
        return sum(len(self.window(n).batches) for n in range(epochs * self.num_windows))

    def num_cut(self) -> int:
        """Returns 0: nothing is known of samples that are not made yet."""
        return 0

    @property
    def _size(self) -> int:
        """Draws of a window."""
        return PACKED_WINDOW if self.packing else WINDOW * self.batch_size

    @property
    def num_windows(self) -> int:
        """Windows of an epoch."""
        return -(-self.drawn.num // self._size)

    def _batched(self, tried: Tried, number: int, draws: int) -> tuple[Dataset, list[list[int]]]:
        dataset = tried.dataset
        if self.packing is not None:
            assert isinstance(dataset, ConversationDataset)
            dataset = PackedDataset(dataset, self.packing, seed=self.seed)
            num = -(-len(dataset) // self.batch_size)
        else:
            # Samples that are left out leave batches smaller, not fewer: steps stay countable.
            num = -(-max(len(dataset), draws) // self.batch_size)
        batches = even_batches(dataset.lengths(), num, seed=self.seed, window=number)
        return dataset, batches

    def _check_share(self, refused: int, seen: int, unused: Sequence[Unused]) -> None:
        if refused <= self.max_bad_share * seen and len(unused) < seen:
            return
        first = next((each for each in unused if isinstance(each.why, Fault)), unused[0])
        raise ValueError(
            f"{first.file}: of {seen} samples in a row, {refused} cannot be used and "
            f"{len(unused) - refused} are not asked for, more than the share of "
            f"{self.max_bad_share:g}; the first is row {first.row}: {first.why}. Mend the data, or "
            "allow more with --max-bad-share"
        )
