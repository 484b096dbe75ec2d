"""What a benchmark may ask of a model, and what it gets back."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

from isthmus.data.conversation import prompt as encode_prompt
from isthmus.data.faults import Fault
from isthmus.data.processor import Processor
from isthmus.data.sample import ImagePart, Message, Sample, Text, whole_clips
from isthmus.data.views import num_views
from isthmus.geometry.boxes import Box


@final
@dataclass(frozen=True, kw_only=True)
class Prompt:
    """What the model is shown before it answers."""

    messages: tuple[Message, ...]
    """Turns up to the answer; the last one is the user's."""

    images: tuple[Path, ...] = ()
    """Pictures of all turns in reading order."""

    @property
    def question(self) -> str:
        """The words of the last turn, with a mark where a picture stands among several."""
        parts = self.messages[-1].parts
        many = sum(isinstance(part, ImagePart) for part in parts) > 1
        words = [part.text if isinstance(part, Text) else "[picture]" * many for part in parts]
        return " ".join(" ".join(words).split())

    def encode(self, processor: Processor, name: str) -> list[int]:
        """Returns the token ids up to where the answer begins.

        Args:
            processor: of the model that is asked.
            name: what an error calls the prompt.
        """
        return encode_prompt(
            self.messages, processor, name, views=num_views(self.images, processor)
        )

    def blind(self) -> "Prompt":
        """Returns the same words without any picture."""
        return Prompt(messages=tuple(message.without_images() for message in self.messages))

    def as_clips(self, num_frames: int) -> "Prompt":
        """Returns the same with pictures that stand still for so many frames, if they must."""
        messages, images = whole_clips(self.messages, self.images, num_frames)
        return Prompt(messages=tuple(messages), images=tuple(images))


@final
@dataclass(frozen=True, kw_only=True)
class Generate:
    """Asks for free text."""

    id: str
    prompt: Prompt
    max_new_tokens: int
    """Tokens after which an answer is cut off and counts as unfinished."""


@final
@dataclass(frozen=True, kw_only=True)
class Locate:
    """Asks for text that holds boxes, which are read out of it."""

    id: str
    prompt: Prompt
    max_new_tokens: int
    """Tokens after which an answer is cut off and counts as unfinished."""

    size: tuple[int, int]
    """Width and height of the picture the boxes lie in. Units: original pixels."""

    digits: int = 2
    """Digits of a written coordinate: 2 for percent, 3 for per mille."""


@final
@dataclass(frozen=True, kw_only=True)
class Choose:
    """Asks which of several answers to one prompt is likeliest."""

    id: str
    prompt: Prompt
    choices: tuple[str, ...]
    """Whole answers; each is scored by the summed log-likelihood of its tokens, end included."""


@final
@dataclass(frozen=True, kw_only=True)
class Rank:
    """Asks for the likelihood of pairs of a prompt and an answer, each with a prompt of its own.

    Captions of one picture are many texts under one prompt, pictures of one caption are one text
    under many prompts: retrieval in either direction is a set of such requests.
    """

    id: str
    candidates: tuple[tuple[Prompt, str], ...]
    """A prompt and the answer to it, for each candidate."""


Request = Generate | Locate | Choose | Rank


@final
@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the model gave for one request."""

    id: str
    text: str
    """The generated text, or the likeliest choice; empty for a ranking."""

    finished: bool = True
    """Whether the model ended its answer itself."""

    log_likelihoods: tuple[float, ...] = ()
    """One for each choice or candidate. Units: nats, summed over the tokens of the answer."""

    boxes: tuple[Box, ...] = ()
    """Boxes read from the text of a `Locate`. Units: original pixels."""

    unread: tuple[str, ...] = ()
    """Pieces of the text that open a box but could not be read."""


def split_last_answer(sample: Sample) -> tuple[Prompt, str]:
    """Cuts a conversation before the last turn of the assistant; what follows it is left out.

    Raises:
        Fault: nothing stands before that turn, or it shows an image.
    """
    place = max(n for n, turn in enumerate(sample.messages) if turn.role == "assistant")
    turns, last = sample.messages[:place], sample.messages[place]
    if not turns:
        raise Fault(
            "no_question",
            f"sample {sample.id!r} begins with the assistant's last turn; expected a question "
            "before the answer to score",
        )
    images = sample.images[: sum(turn.num_images for turn in turns)]
    return Prompt(messages=turns, images=images), last.text.strip()


def unique_ids(samples: Sequence[Sample]) -> list[str]:
    """Returns one id for each sample; one that was seen before gets `#2`, `#3`, ... behind it.

    Public instruction files repeat ids, yet two runs can only be compared by them.
    """
    seen: dict[str, int] = {}
    ids = []
    for sample in samples:
        seen[sample.id] = seen.get(sample.id, 0) + 1
        ids.append(sample.id if seen[sample.id] == 1 else f"{sample.id}#{seen[sample.id]}")
    return ids
