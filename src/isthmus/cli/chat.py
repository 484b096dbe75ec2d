"""Talk to a trained model about your pictures."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, final

import tyro
from rich.console import Console

from isthmus.cli._console import plain

if TYPE_CHECKING:
    from PIL.Image import Image

    from isthmus import IsthmusForConditionalGeneration, IsthmusProcessor
    from isthmus.cli._pen import Pen
    from isthmus.data.sample import Message

HELP = """/image PATH|URL  show it a picture with your next words
/new             forget everything and begin again
/help            these lines
/quit            leave (so does Ctrl-D)"""


@final
@dataclass(frozen=True)
class Options:
    """Talk to a trained model about your pictures.

    Lines can also be piped in: `echo "What colour is the circle?" | isthmus chat MODEL --image X`.
    """

    model: Annotated[str, tyro.conf.Positional]
    """Folder of a trained model."""
    image: str | None = None
    """Path or http(s) address of a picture to begin with."""
    style: str | None = None
    """How the chat template asks, where it knows several ways: `short` or `chat` of `cogvlm_chat`.
    """
    max_new_tokens: int = 128
    """Tokens after which an answer is cut off."""
    draw: Path | None = None
    """Folder that gets, of each answer with boxes, the picture with these drawn on it."""
    boxes: str = "isthmus"
    """How the model writes boxes: `cogvlm`, `shikra`, `qwen2_5_vl`, `kosmos_2`, ..."""


@final
@dataclass(kw_only=True)
class Conversation:
    """A model, what was said so far, and the pictures that were shown."""

    model: "IsthmusForConditionalGeneration"
    processor: "IsthmusProcessor"
    max_new_tokens: int
    """Tokens after which an answer is cut off."""
    style: str | None = None
    """How the chat template asks."""
    messages: "list[Message]" = field(default_factory=list)
    images: "list[Image]" = field(default_factory=list)
    """Pictures of all turns, in reading order."""
    waiting: "list[Image]" = field(default_factory=list)
    """Pictures that go with the next words."""

    def ask(self, words: str, streamer: Any = None) -> str:
        """Returns the model's answer, and remembers the turn.

        Args:
            words: of the user.
            streamer: of transformers; is handed the tokens as they come.

        Raises:
            ValueError: the conversation has become longer than the model can read.
        """
        import torch

        from isthmus.data.conversation import prompt
        from isthmus.data.sample import ImagePart, Message, Text, instructions, whole_clips
        from isthmus.evaluation.generation import end_tokens, new_tokens

        parts: tuple[ImagePart | Text, ...] = (*(ImagePart() for _ in self.waiting), Text(words))
        messages, images = whole_clips(
            [*self.messages, Message("user", parts, self.style)],
            [*self.images, *self.waiting],
            self.model.config.clip_frames,
        )
        shown = [self.processor.views(image) for image in images]
        ids = prompt(messages, self.processor, views=list(map(len, shown)))
        self._check_length(len(ids))
        pixels = {}
        if images:
            asked = zip(instructions(messages), shown, strict=True)
            pixels = {
                "pixel_values": torch.cat(shown),
                **self.processor.asked([line for line, views in asked for _ in views]),
            }
            pixels = {name: value.to(self.model.device) for name, value in pixels.items()}
        input_ids = torch.tensor([ids], device=self.model.device)
        written = self.model.generate(
            input_ids=input_ids,
            attention_mask=torch.ones_like(input_ids),
            **pixels,
            do_sample=False,
            max_new_tokens=self.max_new_tokens,
            eos_token_id=sorted(end_tokens(self.model, self.processor)),
            pad_token_id=self.processor.tokenizer.pad_token_id or 0,
            streamer=streamer,
        )
        answer = self.processor.tokenizer.decode(
            new_tokens(written, input_ids, self.processor)[0], skip_special_tokens=True
        ).strip()
        # Only a turn that was answered is remembered; after an error the same words can be tried.
        self.messages = [*messages, Message("assistant", (Text(answer),))]
        self.images, self.waiting = images, []
        return answer

    def forget(self) -> None:
        """Begins again."""
        self.messages, self.images, self.waiting = [], [], []

    def _check_length(self, length: int) -> None:
        longest = self.model.config.max_positions
        shared = 0 if self.processor.is_encoder_decoder else length
        if longest is not None and max(length, shared + self.max_new_tokens) > longest:
            raise ValueError(
                f"{length} tokens were said, and {self.max_new_tokens} may be answered, but the "
                f"language model reads {longest}; begin again with /new"
            )


def main(arguments: Sequence[str]) -> None:
    """Runs the command."""
    options = tyro.cli(Options, args=arguments, prog="isthmus chat")
    from isthmus.cli._images import open_image
    from isthmus.cli._model import open_model
    from isthmus.cli._pen import Pen
    from isthmus.data.rendering import check_template
    from isthmus.geometry.box_text import convention

    if options.draw is None and options.boxes != Options.boxes:
        raise ValueError(f"--boxes {options.boxes} says how boxes are read; give --draw a folder")
    pen = Pen(folder=options.draw, boxes=convention(options.boxes)) if options.draw else None
    waiting = [open_image(options.image)] if options.image else []
    model, processor = open_model(options.model)
    if options.style is not None:
        check_template(processor, options.style)
    talk = Conversation(
        model=model,
        processor=processor,
        max_new_tokens=options.max_new_tokens,
        style=options.style,
        waiting=waiting,
    )
    console = plain()
    is_person = sys.stdin.isatty()
    if is_person:
        console.print(f"{options.model}: ask away.\n{HELP}\n")
    while (line := _read(is_person)) is not None:
        try:
            if not _obey(line, talk, pen, console):
                break
        except (ValueError, OSError) as error:
            # A person goes on; a script has to hear of it.
            if not is_person:
                raise
            console.print(f"isthmus: {error}")


def _read(is_person: bool) -> str | None:
    try:
        return input("> " if is_person else "").strip()
    except EOFError:
        return None


def _obey(line: str, talk: Conversation, pen: "Pen | None", console: Console) -> bool:
    """Does what a line says; returns whether to go on."""
    from isthmus.cli._images import open_image

    command, _, rest = line.partition(" ")
    match command:
        case "":
            pass
        case "/quit":
            return False
        case "/help":
            console.print(HELP)
        case "/new":
            talk.forget()
        case "/image":
            if not rest.strip():
                raise ValueError("/image needs a path or an address: /image PATH|URL")
            talk.waiting.append(open_image(rest.strip()))
            console.print("It will see the picture with your next words.")
        case _ if command.startswith("/"):
            raise ValueError(f"unknown command {command!r}; /help lists them")
        case _:
            answer = _answer(line, talk)
            if pen and talk.images:
                height, width = talk.processor.views(talk.images[-1]).shape[-2:]
                console.print(pen.draw(answer, talk.images[-1], (width, height)))
    return True


def _answer(words: str, talk: Conversation) -> str:
    from transformers import TextStreamer

    return talk.ask(
        words, TextStreamer(talk.processor.tokenizer, skip_prompt=True, skip_special_tokens=True)
    )
