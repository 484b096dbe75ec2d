"""What a kind of model learns from: conversations, or pairs of an image and a caption."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, Protocol, final, runtime_checkable

from isthmus.axes import Batch
from isthmus.data.conversation import encode, examples
from isthmus.data.dataset import ConversationDataset, Features
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

    def batch(self, indices: Sequence[int]) -> Batch:
        """Returns some examples as a batch."""
        ...

    def num_cut(self) -> int:
        """Returns of how many examples only the beginning is learned from."""
        ...


@runtime_checkable
class Examples(Protocol):
    """How samples become examples."""

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


@final
@dataclass(frozen=True)
class Conversations:
    """Answers are learned, given images and what was said before."""

    processor: Processor
    max_length: int | None = None
    """Tokens that the language model takes."""
    # A fast tokenizer refuses to be used by two threads at once.
    _tokenizing: Lock = field(default_factory=Lock)

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
            samples, self.processor, max_length=self.max_length, features=features
        )


@final
@dataclass(frozen=True)
class Pairs:
    """Images and their captions are held together."""

    processor: PairProcessor

    def check(self, sample: Sample) -> None:
        """Tries to take a sample apart."""
        pairs_of(sample)

    @property
    def encoding(self) -> dict[str, Any]:
        """Tokenizer and length."""
        return pair_encoding_of(self.processor)

    def dataset(self, samples: Sequence[Sample], features: Features | None) -> PairDataset:
        """Returns the pairs."""
        return PairDataset(samples, self.processor, features=features)
