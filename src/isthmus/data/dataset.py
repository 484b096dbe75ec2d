"""Samples to batches; a conversation is encoded once."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from threading import Lock
from typing import Any, final

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from isthmus.axes import Batch
from isthmus.data.collate import collate
from isthmus.data.conversation import EncodedConversation, encode, examples
from isthmus.data.faults import Fault, NothingReadable
from isthmus.data.processor import Processor
from isthmus.data.sample import Sample, instructions
from isthmus.data.views import num_views, read_views

OnFault = Callable[[int, Fault], None]
"""Is told of an example whose images cannot be read, by its index."""
Features = Callable[[Sequence[Path]], Float[Tensor, "images seen d_vision"]]
"""Looks up what a frozen tower saw of images, so that their pixels need not be read."""

_CHARACTERS_PER_TOKEN = 4
"""Rough; lengths only decide which samples share a batch."""


@final
class ConversationDataset:
    """Samples and a processor, from which batches are made.

    For a model that writes with a decoder, each answer of a sample is an example of its own.
    An encoded conversation is kept in memory: 8 bytes for each of its tokens.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        processor: Processor,
        *,
        max_length: int | None = None,
        features: Features | None = None,
        encoded: Sequence[EncodedConversation] = (),
        tokenizing: AbstractContextManager[Any] | None = None,
        on_fault: OnFault | None = None,
    ):
        """Holds the samples; nothing is read or encoded before it is asked for.

        Args:
            samples: conversations with their images.
            processor: encodes both.
            max_length: longest conversation the language model takes, in tokens.
            features: looked up instead of reading pixels.
            encoded: what `encode` gives for each example, if that is known already.
            tokenizing: held while the tokenizer is used, where others use it meanwhile.
            on_fault: is told of examples whose images cannot be read, and which batches then lack;
                without it the fault is raised.
        """
        self.samples = examples(samples, processor)
        self.processor = processor
        self.max_length = max_length
        self.features = features
        self.on_fault = on_fault
        self._encoded: dict[int, EncodedConversation] = dict(enumerate(encoded))
        # A fast tokenizer refuses to be used by two threads at once.
        self._tokenizing = tokenizing or Lock()

    def __len__(self) -> int:
        """Returns the number of examples."""
        return len(self.samples)

    def num_cut(self) -> int:
        """Returns 0: a conversation that is too long is no example."""
        return 0

    def lengths(self) -> list[int]:
        """Returns an estimate of each length, from characters and images, without encoding."""
        per_view = self.processor.num_image_tokens * _CHARACTERS_PER_TOKEN
        return [
            per_view * sum(num_views(s.images, self.processor))
            + sum(len(message.text) for message in s.messages)
            for s in self.samples
        ]

    def conversation(self, index: int) -> EncodedConversation:
        """Returns an encoded conversation.

        Raises:
            ValueError: see `encode`.
        """
        with self._tokenizing:
            if index not in self._encoded:
                sample = self.samples[index]
                self._encoded[index] = encode(sample, self.processor, self.max_length)
            return self._encoded[index]

    def token_lengths(self) -> list[int]:
        """Returns the tokens of each example, text and visual ones; no picture is read for it."""
        return [len(self.conversation(index).input_ids) for index in range(len(self))]

    def num_images(self) -> list[int]:
        """Returns as how many views the images of each example are shown."""
        return [sum(num_views(sample.images, self.processor)) for sample in self.samples]

    def held(self, indices: Sequence[int]) -> int:
        """Returns how many samples some examples are."""
        return len(indices)

    def batch(self, indices: Sequence[int]) -> Batch:
        """Returns some samples as a batch; its images are pixels or looked-up features.

        Raises:
            Fault: an image cannot be read, and nobody is told of faults.
            NothingReadable: the images of none of them can be read.
        """
        return self.batch_of_rows([[index] for index in indices])

    def batch_of_rows(self, rows: Sequence[Sequence[int]]) -> Batch:
        """Returns a batch with several samples in a row.

        Args:
            rows: the samples of each.

        Raises:
            Fault: an image cannot be read, and nobody is told of faults.
            NothingReadable: the images of none of them can be read.
        """
        views: dict[Path, UInt8[Tensor, "images 3 height width"]] = {}
        kept = [[index for index in row if self._read(index, views)] for row in rows]
        if not (rows := [row for row in kept if row]):
            raise NothingReadable
        samples = [self.samples[index] for row in rows for index in row]
        images = [path for sample in samples for path in sample.images]
        pixels, places = _shown(images, views) if self.features is None else (None, None)
        with self._tokenizing:
            asked = self.processor.asked(self._instructions(samples))
        return collate(
            [[self.conversation(index) for index in row] for row in rows],
            # Any id will do for padding: no attention and no loss reaches it.
            pad_token_id=self.processor.tokenizer.pad_token_id or 0,
            max_length=self.max_length,
            decoded=self.processor.is_encoder_decoder,
            ids=tuple(sample.id for sample in samples),
            pixel_values=pixels,
            view_index=places,
            patch_features=self.features(images) if images and self.features else None,
            **asked,
        )

    def _read(self, index: int, views: dict[Path, Tensor]) -> bool:
        """Reads the images of an example, unless features are looked up or they were read before.

        Returns:
            Whether all of them can be read.
        """
        if self.features is not None:
            return True
        try:
            for path in self.samples[index].images:
                if path not in views:
                    views[path] = read_views(path, self.processor)
        except Fault as fault:
            if self.on_fault is None:
                raise
            self.on_fault(index, fault)
            return False
        return True

    def _instructions(self, samples: Sequence[Sample]) -> list[str]:
        """Returns what is asked about each view of each image."""
        return [
            line
            for sample in samples
            for line, count in zip(
                instructions(sample.messages), num_views(sample.images, self.processor), strict=True
            )
            for _ in range(count)
        ]


def _shown(
    images: Sequence[Path], views: Mapping[Path, UInt8[Tensor, "_ 3 height width"]]
) -> tuple[UInt8[Tensor, "images 3 height width"] | None, Int[Tensor, " views"] | None]:
    """Returns the views of images, each once, and their places where some have several."""
    if not images:
        return None, None
    once = dict.fromkeys(images)
    pixels = torch.cat([views[path] for path in once])
    if len(once) == len(images):
        return pixels, None
    numbers = iter(range(len(pixels)))
    of = {path: [next(numbers) for _ in views[path]] for path in once}
    return pixels, torch.tensor([number for path in images for number in of[path]])
