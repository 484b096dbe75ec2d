"""What a kind of model learns from: conversations, or pairs of an image and a caption."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, Protocol, final, runtime_checkable

from isthmus.axes import Batch
from isthmus.data.conversation import EncodedConversation, encode, examples
from isthmus.data.dataset import ConversationDataset, Features, OnFault
from isthmus.data.faults import Fault
from isthmus.data.pairs import PairDataset, PairProcessor, pair_encoding_of, pairs_of
from isthmus.data.processor import Processor
from isthmus.data.sample import Sample
from isthmus.data.vetting import encoding_of


@runtime_checkable
class Dataset(Protocol):
    """Examples, from which batches are made."""

    def __len__(self) -> int:
        """Returns the number of examples."""
        ...

    def lengths(self) -> list[int]:
        """Returns an estimate of each length; those of a batch are alike."""
        ...

    def held(self, indices: Sequence[int]) -> int:
        """Returns how many samples some examples are; a row may hold several."""
        ...

    def batch(self, indices: Sequence[int]) -> Batch:
        """Returns some examples as a batch.

        Raises:
            NothingReadable: faulty examples are left out, and none is left.
        """
        ...

    def num_cut(self) -> int:
        """Returns of how many examples only the beginning is learned from."""
        ...


@final
@dataclass(frozen=True, kw_only=True)
class Tried:
    """What came of samples that nobody had looked at before."""

    dataset: Dataset
    """Examples of those that can be learned from."""
    origin: Sequence[int]
    """Which of the samples each example comes from."""
    faults: Mapping[int, Fault]
    """What is wrong with the others."""


@runtime_checkable
class Examples(Protocol):
    """How samples become examples."""

    @property
    def can_be_packed(self) -> bool:
        """Whether several samples may share a row."""
        ...

    def check(self, sample: Sample) -> None:
        """Tries a sample.

        Raises:
            Fault: it cannot be learned from.
        """
        ...

    @property
    def encoding(self) -> dict[str, Any]:
        """All that decides the verdict of `check`, and what the model is told of a sample."""
        ...

    def dataset(self, samples: Sequence[Sample], features: Features | None) -> Dataset:
        """Returns the examples of samples.

        Args:
            samples: that passed `check`.
            features: looked up instead of reading pixels.
        """
        ...

    def tried(
        self, samples: Sequence[Sample], features: Features | None, on_fault: OnFault
    ) -> Tried:
        """Returns the examples of those samples that can be learned from.

        Args:
            samples: that nobody has looked at.
            features: looked up instead of reading pixels.
            on_fault: is told of examples whose images cannot be read, when a batch is made.
        """
        ...


@final
@dataclass(frozen=True)
class Conversations:
    """Answers are learned, given images and what was said before."""

    processor: Processor
    max_length: int | None = None
    """Tokens that the language model takes."""
    # A fast tokenizer refuses to be used by two threads at once.
    _tokenizing: Lock = field(default_factory=Lock)

    @property
    def can_be_packed(self) -> bool:
        """Whether several samples may share a row."""
        return True

    def check(self, sample: Sample) -> None:
        """Tries to encode a conversation."""
        with self._tokenizing:
            for example in examples([sample], self.processor):
                encode(example, self.processor, self.max_length)

    @property
    def encoding(self) -> dict[str, Any]:
        """Template, tokenizer and lengths."""
        return encoding_of(self.processor, self.max_length)

    def dataset(self, samples: Sequence[Sample], features: Features | None) -> ConversationDataset:
        """Returns the conversations."""
        return ConversationDataset(
            samples,
            self.processor,
            max_length=self.max_length,
            features=features,
            tokenizing=self._tokenizing,
        )

    def tried(
        self, samples: Sequence[Sample], features: Features | None, on_fault: OnFault
    ) -> Tried:
        """Encodes conversations; each is encoded once."""
        good: list[Sample] = []
        encoded: list[EncodedConversation] = []
        origin: list[int] = []
        faults: dict[int, Fault] = {}
        for number, sample in enumerate(samples):
            try:
                with self._tokenizing:
                    made = [
                        encode(example, self.processor, self.max_length)
                        for example in examples([sample], self.processor)
                    ]
            except Fault as fault:
                faults[number] = fault
            else:
                good.append(sample)
                encoded += made
                origin += [number] * len(made)
        dataset = ConversationDataset(
            good,
            self.processor,
            max_length=self.max_length,
            features=features,
            encoded=encoded,
            tokenizing=self._tokenizing,
            on_fault=on_fault,
        )
        return Tried(dataset=dataset, origin=origin, faults=faults)


@final
@dataclass(frozen=True)
class Pairs:
    """Images and their captions are held together."""

    processor: PairProcessor
    _tokenizing: Lock = field(default_factory=Lock)

    @property
    def can_be_packed(self) -> bool:
        """Whether several samples may share a row: pairs are compared by rows."""
        return False

    def check(self, sample: Sample) -> None:
        """Tries to take a sample apart."""
        pairs_of(sample)

    @property
    def encoding(self) -> dict[str, Any]:
        """Tokenizer and length."""
        return pair_encoding_of(self.processor)

    def dataset(self, samples: Sequence[Sample], features: Features | None) -> PairDataset:
        """Returns the pairs."""
        return PairDataset(samples, self.processor, features=features, tokenizing=self._tokenizing)

    def tried(
        self, samples: Sequence[Sample], features: Features | None, on_fault: OnFault
    ) -> Tried:
        """Takes samples apart."""
        good: list[Sample] = []
        origin: list[int] = []
        faults: dict[int, Fault] = {}
        for number, sample in enumerate(samples):
            try:
                made = pairs_of(sample)
            except Fault as fault:
                faults[number] = fault
            else:
                good.append(sample)
                origin += [number] * len(made)
        dataset = PairDataset(
            good,
            self.processor,
            features=features,
            tokenizing=self._tokenizing,
            on_fault=on_fault,
        )
        return Tried(dataset=dataset, origin=origin, faults=faults)
