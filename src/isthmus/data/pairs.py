"""Samples to pairs of an image and a caption, and pairs to batches.

A sample shows one image, and each of its answers is a caption of it; what was asked does not
matter. Names of images and captions travel along as numbers, so that a loss which holds pairs
against each other knows which of them are true though nobody wrote them down.
"""

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from threading import Lock
from typing import Any, Protocol, final, runtime_checkable

import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from isthmus.axes import Batch
from isthmus.data.dataset import Features, OnFault
from isthmus.data.faults import Fault, NothingReadable
from isthmus.data.processor import ImageProcessor
from isthmus.data.sample import Sample
from isthmus.data.views import read_views


@runtime_checkable
class PairProcessor(ImageProcessor, Protocol):
    """Turns captions into token ids and images into pixels; the real one lives in `modeling`."""

    tokenizer: Any
    """A fast tokenizer of transformers."""
    max_caption_tokens: int
    """Longest caption; the rest is cut."""

    def texts(self, lines: Sequence[str]) -> dict[str, Tensor]:
        """Returns `input_ids` and `attention_mask` of texts, padded on the right."""
        ...

    def num_cut(self, lines: Sequence[str]) -> int:
        """Returns how many texts are longer than what is read of them."""
        ...


def pair_encoding_of(processor: PairProcessor) -> dict[str, Any]:
    """Returns all that decides how a caption is encoded."""
    vocabulary = processor.tokenizer.backend_tokenizer.to_str()
    return {
        "tokenizer": sha256(vocabulary.encode()).hexdigest(),
        "special_tokens": processor.tokenizer.special_tokens_map,
        "max_caption_tokens": processor.max_caption_tokens,
    }


@final
@dataclass(frozen=True, slots=True)
class Pair:
    """An image and what is said of it."""

    id: str
    image: Path
    caption: str


def pairs_of(sample: Sample) -> list[Pair]:
    """Returns a pair for each answer of a sample.

    Raises:
        Fault: the sample shows no image, or several.
    """
    if len(sample.images) != 1:
        raise Fault(
            "image_marks",
            f"{sample.id}: {len(sample.images)} images; a caption belongs to one image, so give "
            "each image a sample of its own",
        )
    captions = [m.text.strip() for m in sample.messages if m.role == "assistant"]
    return [
        Pair(sample.id if number == 1 else f"{sample.id}#{number}", sample.images[0], caption)
        for number, caption in enumerate(captions, start=1)
    ]


@final
class PairDataset:
    """Samples and a processor, from which batches of pairs are made."""

    def __init__(
        self,
        samples: Sequence[Sample],
        processor: PairProcessor,
        *,
        features: Features | None = None,
        tokenizing: AbstractContextManager[Any] | None = None,
        on_fault: OnFault | None = None,
    ):
        """Holds the pairs; nothing is read before it is asked for.

        Args:
            samples: of one image each.
            processor: encodes images and captions.
            features: looked up instead of reading pixels.
            tokenizing: held while the tokenizer is used, where others use it meanwhile.
            on_fault: is told of pairs whose image cannot be read, and which batches then lack;
                without it the fault is raised.

        Raises:
            Fault: a sample shows no image, or several.
        """
        self.pairs = [pair for sample in samples for pair in pairs_of(sample)]
        self.processor = processor
        self.features = features
        self.on_fault = on_fault
        # A fast tokenizer refuses to be used by two threads at once.
        self._tokenizing = tokenizing or Lock()

    def __len__(self) -> int:
        """Returns the number of pairs."""
        return len(self.pairs)

    def num_cut(self) -> int:
        """Returns how many captions are longer than what is read of them."""
        with self._tokenizing:
            return self.processor.num_cut([pair.caption for pair in self.pairs])

    def lengths(self) -> list[int]:
        """Returns one length for all, so that chance alone decides which pairs share a batch."""
        return [1] * len(self.pairs)

    def held(self, indices: Sequence[int]) -> int:
        """Returns how many pairs some examples are."""
        return len(indices)

    def batch(self, indices: Sequence[int]) -> Batch:
        """Returns some pairs as a batch; its images are pixels or looked-up features.

        Raises:
            Fault: an image cannot be read, and nobody is told of faults.
            NothingReadable: none of the images can be read.
        """
        shown = {} if self.features else self._pixels(indices)
        pairs = [self.pairs[i] for i in indices if self.features or self.pairs[i].image in shown]
        if not pairs:
            raise NothingReadable
        images = [pair.image for pair in pairs]
        with self._tokenizing:
            texts = self.processor.texts([pair.caption for pair in pairs])
        seen = self.features(images) if self.features else torch.cat([shown[p] for p in images])
        return Batch(
            input_ids=texts["input_ids"],
            attention_mask=texts["attention_mask"],
            pixel_values=None if self.features else seen,
            patch_features=seen if self.features else None,
            # By what is seen: the same picture may have two names.
            image_ids=_numbers(seen),
            text_ids=_numbers(map(self._said, pairs, texts["input_ids"], texts["attention_mask"])),
            ids=tuple(pair.id for pair in pairs),
        )

    def _said(self, pair: Pair, ids: Tensor, mask: Tensor) -> str:
        """Returns what a model reads of a caption: captions may differ only where they are cut."""
        is_full = int(mask.sum()) == self.processor.max_caption_tokens
        return str(ids.tolist()) if is_full else pair.caption.casefold()

    def _pixels(self, indices: Sequence[int]) -> dict[Path, UInt8[Tensor, "1 3 height width"]]:
        """Returns the images of pairs that can be read; each is read once."""
        first = {self.pairs[index].image: index for index in reversed(indices)}
        shown = {}
        for path, index in first.items():
            try:
                shown[path] = read_views(path, self.processor)
            except Fault as fault:
                if self.on_fault is None:
                    raise
                self.on_fault(index, fault)
        return shown


def _numbers(things: Iterable[str | Tensor]) -> Int64[Tensor, " things"]:
    """Returns a number of 63 bits for each of some texts or tensors, the same on every process."""
    digests = (sha256(_bytes_of(thing)).digest()[:8] for thing in things)
    return torch.tensor([int.from_bytes(d, "big") >> 1 for d in digests], dtype=torch.int64)


def _bytes_of(thing: str | Tensor) -> Any:
    if isinstance(thing, str):
        return thing.encode()
    return thing.contiguous().view(torch.uint8).numpy()
