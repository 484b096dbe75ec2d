"""The canonical sample: messages of typed parts, and the images they speak of."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any, Literal, TypeVar, final, get_args

from isthmus.data.faults import Fault
from isthmus.geometry.boxes import Box

Role = Literal["system", "user", "assistant"]
ROLES: tuple[Role, ...] = get_args(Role)
ImageT = TypeVar("ImageT")
"""A picture, or where it lies."""


@final
@dataclass(frozen=True, slots=True)
class Text:
    """A stretch of text within a message."""

    text: str


@final
@dataclass(frozen=True, slots=True)
class ImagePart:
    """The place of an image within a message; the n-th place shows the n-th image of the sample."""


@final
@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: Role
    parts: tuple[Text | ImagePart, ...]
    style: str | None = None
    """How the chat template is to ask, where it knows several ways; None leaves it to the
    template."""

    @property
    def text(self) -> str:
        """The text of the turn, without its images."""
        return "".join(part.text for part in self.parts if isinstance(part, Text))

    @property
    def num_images(self) -> int:
        """Images shown in the turn."""
        return sum(isinstance(part, ImagePart) for part in self.parts)

    def to_chat(self, image_text: str | None = None) -> dict[str, Any]:
        """Returns the turn as transformers' chat templates take it.

        Args:
            image_text: what stands for an image in one text; None keeps the typed parts.
        """
        told = (
            {"role": self.role} if self.style is None else {"role": self.role, "style": self.style}
        )
        if image_text is not None:
            texts = (p.text if isinstance(p, Text) else image_text for p in self.parts)
            return {**told, "content": "".join(texts)}
        content = [
            {"type": "text", "text": part.text} if isinstance(part, Text) else {"type": "image"}
            for part in self.parts
        ]
        return {**told, "content": content}

    def without_images(self) -> "Message":
        """Returns the words of the turn alone."""
        return replace(self, parts=tuple(part for part in self.parts if isinstance(part, Text)))


def instructions(messages: Sequence[Message]) -> list[str]:
    """Returns the words of the turn that shows it for each image, in reading order.

    They are what a connector that reads instructions is told beside the image.
    """
    return [message.text.strip() for message in messages for _ in range(message.num_images)]


def whole_clips(
    messages: Sequence[Message], images: Sequence[ImageT], num_frames: int
) -> tuple[list[Message], list[ImageT]]:
    """Returns turns and their images as a model takes them that reads frames of clips.

    A turn's only image stands still for the length of a clip. Several are frames, whether they make
    whole clips or not.

    Args:
        messages: in order.
        images: of all turns, in reading order.
        num_frames: of a clip; 1 changes nothing.
    """
    left, told, shown = iter(images), [], []
    for message in messages:
        mine = list(islice(left, message.num_images))
        times = num_frames if len(mine) == 1 else 1
        shown += [image for image in mine for _ in range(times)]
        parts = ((part,) * (times if isinstance(part, ImagePart) else 1) for part in message.parts)
        told.append(replace(message, parts=tuple(chain.from_iterable(parts))))
    return told, shown


@final
@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """One conversation with its images."""

    id: str
    """Name of the sample, used in errors and results."""
    messages: tuple[Message, ...]
    """Turns in order; at least one is an answer of the assistant."""
    images: tuple[Path, ...] = ()
    """Absolute paths, one per `ImagePart`, in reading order."""
    task: str = ""
    """What the sample measures, for scores per task."""
    meta: Mapping[str, Any] = field(default_factory=dict)
    """Whatever else its source knows; boxes are in original pixels."""

    def __post_init__(self) -> None:
        """Checks that images and places agree, and that there is an answer to learn.

        Raises:
            Fault: there are more or fewer places than images, one in an answer, no answer, or an
                empty one.
        """
        places = sum(message.num_images for message in self.messages)
        if places != len(self.images):
            raise Fault(
                "image_marks",
                f"{self.id}: {places} image marks for {len(self.images)} images; "
                f"each image needs exactly one mark in the messages",
            )
        if any(m.role == "assistant" and m.num_images for m in self.messages):
            raise Fault(
                "image_marks",
                f"{self.id}: an assistant turn shows an image; a language model writes text, so "
                "move the mark to the turn before",
            )
        answers = [message.text for message in self.messages if message.role == "assistant"]
        if not answers:
            raise Fault(
                "no_answer", f"{self.id}: no assistant turn; a sample needs an answer to learn"
            )
        if not all(answer.strip() for answer in answers):
            raise Fault(
                "empty_answer", f"{self.id}: an assistant turn is empty; drop the turn or fill it"
            )

    @property
    def boxes(self) -> tuple[Box, ...]:
        """The boxes of `meta`, none where it holds none. Units: original pixels.

        Raises:
            ValueError: what `meta` holds is no list of boxes.
        """
        given = self.meta.get("boxes") or []
        if not isinstance(given, list) or not all(map(_is_box, given)):
            raise ValueError(
                f"{self.id}: meta.boxes is {given!r:.80}; expected a list of [x0, y0, x1, y1] in "
                "original pixels with x0 < x1 and y0 < y1; convert the boxes or leave them out"
            )
        return tuple((float(x0), float(y0), float(x1), float(y1)) for x0, y0, x1, y1 in given)

    def by_answer(self) -> "tuple[Sample, ...]":
        """Returns one sample for each answer: what was said before it, and the answer at the end.

        So a model meets a conversation that reads with an encoder, and writes with a decoder.
        """
        ends = [n for n, turn in enumerate(self.messages, start=1) if turn.role == "assistant"]
        return tuple(
            replace(
                self,
                id=self.id if number == 1 else f"{self.id}#{number}",
                messages=self.messages[:end],
                images=self.images[: sum(turn.num_images for turn in self.messages[:end])],
            )
            for number, end in enumerate(ends, start=1)
        )

    def without_images(self) -> "Sample":
        """Returns the same conversation without its images, as a blind model meets it."""
        messages = tuple(message.without_images() for message in self.messages)
        return replace(self, messages=messages, images=())

    def styled(self, style: str | None) -> "Sample":
        """Returns the same conversation, asked in a style of the chat template.

        Args:
            style: of every turn of the user; None keeps what the turns say.
        """
        if style is None:
            return self
        asked = (replace(m, style=style) if m.role == "user" else m for m in self.messages)
        return replace(self, messages=tuple(asked))


def _is_box(value: Any) -> bool:
    if not isinstance(value, list) or len(value) != 4:
        return False
    are_numbers = all(isinstance(edge, int | float) and math.isfinite(edge) for edge in value)
    return are_numbers and value[0] < value[2] and value[1] < value[3]
