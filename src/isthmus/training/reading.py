"""The data of a stage becomes a course."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

from rich.console import Console

from isthmus.data.dataset import ConversationDataset, Features
from isthmus.data.packing import PackedDataset, Packing
from isthmus.data.prefix import split_answer
from isthmus.data.quarantine import Quarantine, Rejected
from isthmus.data.sample import Sample
from isthmus.training.course import Course, Whole
from isthmus.training.data import Data, FileData, MixtureData
from isthmus.training.examples import Dataset, Examples
from isthmus.training.read_data import read_data
from isthmus.training.read_mixture import read_drawn
from isthmus.training.stage import Stage
from isthmus.training.windows import Drawn, Windows

_SPLIT_SEED = 0
"""Of the places where answers are split."""


@final
@dataclass(frozen=True, kw_only=True)
class Read:
    """Samples of a stage: all of them, or those that will be drawn."""

    samples: Sequence[Sample] | Drawn
    images: Sequence[Path]
    """Images of the rows that are used; none where nobody has looked at them yet."""
    fingerprint: str
    """Of the files, and of which of their rows are used."""
    rejected: Sequence[Rejected]
    """Rows that are not used, as far as they were looked at."""
    filtered: Mapping[str, int]
    """Rows that are not asked for, by reason."""
    max_bad_share: float = 0.0
    tried_before: bool = True
    """Whether every row was looked at."""


@final
@dataclass(frozen=True, kw_only=True)
class Reading:
    """How a stage reads its data."""

    stage: Stage
    examples: Examples
    seed: int
    """Of the order of samples."""
    quarantine: Quarantine
    """Gets the faulty rows."""
    is_main: bool
    """Whether this process writes for all."""
    console: Console

    def read(self, data: Data) -> Read:
        """Opens the files of the data, and tries their rows unless it is lazy.

        Raises:
            ValueError: too large a share of the rows cannot be used, or a setting does not fit.
        """
        stage = self.stage
        if isinstance(data, FileData | MixtureData) and data.lazy and stage.feature_store:
            raise ValueError(
                f"stage {stage.name!r} has the tower look at all images first, and its data is "
                "lazy, so nobody knows them; set feature_store or lazy to False"
            )
        if isinstance(data, MixtureData) or (isinstance(data, FileData) and data.lazy):
            found = read_drawn(
                data,
                self.examples,
                seed=self.seed,
                quarantine=self.quarantine,
                num_workers=stage.num_workers,
                console=self.console,
            )
            return Read(
                samples=found.drawn,
                images=() if stage.blind else found.images,
                fingerprint=found.fingerprint,
                rejected=found.rejected,
                filtered=found.filtered,
                max_bad_share=data.max_bad_share,
                tried_before=not data.lazy,
            )
        read = read_data(
            data,
            self.examples,
            quarantine=self.quarantine,
            num_workers=stage.num_workers,
            console=self.console,
        )
        samples = [part for sample in read.samples for part in self._parts(sample)]
        return Read(
            samples=samples,
            images=[path for sample in samples for path in sample.images],
            fingerprint=read.fingerprint,
            rejected=read.rejected,
            filtered={},
        )

    def course(self, read: Read, features: Features | None, *, packed: bool = True) -> Course:
        """Returns what was read in the order in which it is learned from.

        Args:
            read: samples.
            features: looked up instead of reading pixels.
            packed: whether samples share rows, if the stage says so.

        Raises:
            ValueError: samples cannot share rows.
        """
        packing = self._packing() if packed else None
        batch_size = self.stage.schedule.batch_size
        if isinstance(read.samples, Drawn):
            return Windows(
                drawn=read.samples,
                examples=self.examples,
                parts=self._parts,
                features=features,
                batch_size=batch_size,
                packing=packing,
                seed=self.seed,
                quarantine=self.quarantine,
                max_bad_share=read.max_bad_share,
                tried_before=read.tried_before,
                is_main=self.is_main,
            )
        dataset: Dataset = self.examples.dataset(read.samples, features)
        num_samples = len(dataset)
        if packing is not None:
            assert isinstance(dataset, ConversationDataset)
            dataset = PackedDataset(dataset, packing)
        return Whole(dataset, num_samples=num_samples, batch_size=batch_size, seed=self.seed)

    def _parts(self, sample: Sample) -> Sequence[Sample]:
        """Returns what is learned from in place of a sample."""
        if self.stage.blind:
            sample = sample.without_images()
        if not self.stage.split_answers:
            return [sample]
        return [split_answer(part, seed=_SPLIT_SEED) for part in sample.by_answer()]

    def _packing(self) -> Packing | None:
        stage = self.stage
        if stage.pack_tokens is None:
            return None
        if not self.examples.can_be_packed:
            raise ValueError(
                f"stage {stage.name!r} packs samples, but pairs of an image and a caption are "
                "compared row by row; set pack_tokens to None"
            )
        return Packing(max_tokens=stage.pack_tokens, max_images=stage.pack_images)
