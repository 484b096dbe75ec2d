"""Who writes captions of images: a Q-Former alone, or a language model that looks through one."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, final, runtime_checkable

import torch

from isthmus.data.conversation import prompt as encode_prompt
from isthmus.data.processor import Processor
from isthmus.data.sample import ImagePart, Message, Text
from isthmus.data.views import read_views
from isthmus.evaluation import generation
from isthmus.evaluation.mode import measured
from isthmus.evaluation.requests import Prompt
from isthmus.modeling import fingerprint
from isthmus.modeling.captioning import longest_caption, write_captions
from isthmus.modeling.modeling_alignment import IsthmusForAlignment
from isthmus.modeling.modeling_isthmus import IsthmusForConditionalGeneration
from isthmus.modeling.processing_alignment import IsthmusAlignmentProcessor

Captioner = (
    tuple[IsthmusForAlignment, IsthmusAlignmentProcessor]
    | tuple[IsthmusForConditionalGeneration, Processor]
)
"""A model that writes captions, and its processor."""

LIKELIEST = 50
"""Words that one is drawn from at most, whatever their probability: transformers' usual number."""


@final
@dataclass(frozen=True, kw_only=True)
class Drawn:
    """How captions are drawn."""

    num: int
    """Captions of each image."""
    top_p: float
    """Words are drawn from the likeliest that make up this probability."""
    max_new_tokens: int
    """Longest caption, its end included."""

    @property
    def settings(self) -> dict[str, Any]:
        """As `GenerationConfig` names them; what a language model brings along does not count."""
        return {
            "do_sample": True,
            "num_beams": 1,
            "temperature": 1.0,
            "top_k": LIKELIEST,
            "top_p": self.top_p,
            "max_new_tokens": self.max_new_tokens,
        }


@runtime_checkable
class Writer(Protocol):
    """Writes captions."""

    def room(self) -> int | None:
        """Returns how many tokens a caption may have, whatever the image; None: any number."""
        ...

    def write(self, images: Sequence[Path], drawn: Drawn) -> list[list[str]]:
        """Returns captions of each image; those that came to no end are left out.

        Args:
            images: files.
            drawn: how many captions, and which.
        """
        ...

    @property
    def identity(self) -> dict[str, str]:
        """What decides the captions: the kind, and the fingerprint of the weights."""
        ...

    @property
    def name(self) -> str | None:
        """Folder or hub id of the model; None or empty where it came from none."""
        ...


def writer_of(captioner: Captioner, *, prompt: str = "") -> Writer:
    """Returns who writes, with a model of either kind.

    Args:
        captioner: the model and its processor.
        prompt: what a language model is asked beside the image; a Q-Former is asked nothing.

    Raises:
        ValueError: a Q-Former would be asked.
    """
    model, processor = captioner
    if isinstance(model, IsthmusForConditionalGeneration):
        assert isinstance(processor, Processor)
        return LanguageModel(model, processor, prompt)
    assert isinstance(processor, IsthmusAlignmentProcessor)
    if prompt:
        raise ValueError(
            f"the prompt is {prompt!r}, but the captioner has no language model that would read "
            "it; leave it out"
        )
    return QueriesAlone(model, processor)


@final
@dataclass(frozen=True)
class QueriesAlone:
    """A Q-Former of the first stage, which goes on from its queries."""

    model: IsthmusForAlignment
    processor: IsthmusAlignmentProcessor

    def room(self) -> int:
        """As many tokens as it has learned."""
        return longest_caption(self.model)

    def write(self, images: Sequence[Path], drawn: Drawn) -> list[list[str]]:
        """Goes on from the queries of each image."""
        with measured(self.model):
            pixels = torch.cat([read_views(path, self.processor) for path in images])
            seen = self.model.see(self.model.encode_images(pixels.to(self.model.device)))
            ids = write_captions(self.model, seen, num_return_sequences=drawn.num, **drawn.settings)
        texts = self.processor.tokenizer.batch_decode(ids, skip_special_tokens=True)
        ended = (ids == self.model.config.eos_token_id).any(dim=1).tolist()
        return _finished(list(zip(texts, ended, strict=True)), drawn.num)

    @property
    def identity(self) -> dict[str, str]:
        """As `Writer`."""
        return {"by": "queries", "weights": fingerprint.of_weights(self.model.state_dict())}

    @property
    def name(self) -> str | None:
        """As `Writer`."""
        return self.model.name_or_path


@final
@dataclass(frozen=True)
class LanguageModel:
    """A model that answers, asked for a caption in its own chat template."""

    model: IsthmusForConditionalGeneration
    processor: Processor
    prompt: str
    """What it is asked beside the image; it may be empty."""

    def room(self) -> int | None:
        """As many as it has positions for behind the prompt, with an image in all its views.

        Raises:
            ValueError: there is no chat template, or nothing would end a caption.
            Fault: there is no room for the prompt.
        """
        generation.end_tokens(self.model, self.processor)
        name, tiles = "the request for a caption", self.processor.max_tiles
        views = [1 if tiles is None else tiles + 1]
        ids = encode_prompt(self._asked, self.processor, name, views=views)
        return generation.room_after(ids, self.model.config.max_positions, self.processor, name)

    def write(self, images: Sequence[Path], drawn: Drawn) -> list[list[str]]:
        """Answers with captions."""
        prompts = [Prompt(messages=self._asked, images=(path,)) for path in images]
        encoded = [(each, each.encode(self.processor, str(each.images[0]))) for each in prompts]
        # `generate` repeats images for several sequences only where each has a place per token.
        repeated = [each for each in encoded for _ in range(drawn.num)]
        with measured(self.model):
            written = generation.write(self.model, self.processor, repeated, **drawn.settings)
        return _finished(written, drawn.num)

    @property
    def identity(self) -> dict[str, str]:
        """As `Writer`."""
        weights = fingerprint.of_weights(self.model.state_dict())
        return {"by": "language model", "weights": weights}

    @property
    def name(self) -> str | None:
        """As `Writer`."""
        return self.model.name_or_path

    @property
    def _asked(self) -> tuple[Message, ...]:
        words = (Text(self.prompt),) if self.prompt else ()
        return (Message("user", (ImagePart(), *words)),)


def _finished(written: Sequence[tuple[str, bool]], num: int) -> list[list[str]]:
    """Returns the captions of each image that came to an end; those of an image stand together."""
    return [
        [text.strip() for text, finished in written[start : start + num] if finished]
        for start in range(0, len(written), num)
    ]
