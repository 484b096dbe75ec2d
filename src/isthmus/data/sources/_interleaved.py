"""Documents of text and images in turn, as conversations: what a page says of what it has shown."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from isthmus.data.sample import ImagePart, Message, Sample, Text


def conversation(
    pieces: Sequence[str | Path], *, name: str, between: str, meta: Mapping[str, Any]
) -> Sample:
    """Returns the sample of a document.

    Each text is an answer, and the turn before it shows the images that stand before it; texts
    without an image between them are one answer. Images after the last text teach nothing, since no
    text has seen them: they are left out and counted in `meta`, as `unused_images`.

    Args:
        pieces: texts, and paths of images, in order.
        name: id of the sample.
        between: what joins texts that follow one another.
        meta: what else is known.

    Raises:
        Fault: no text is left.
    """
    messages: list[Message] = []
    images: list[Path] = []
    shown: list[Path] = []
    said: list[str] = []

    def speak() -> None:
        messages.append(Message("user", tuple(ImagePart() for _ in shown) or (Text(""),)))
        messages.append(Message("assistant", (Text(between.join(said)),)))
        images.extend(shown)
        shown.clear()
        said.clear()

    for piece in pieces:
        if isinstance(piece, Path):
            if said:
                speak()
            shown.append(piece)
        elif piece.strip():
            said.append(piece)
    if said:
        speak()
    unused = {"unused_images": len(shown)} if shown else {}
    return Sample(
        id=name,
        messages=tuple(messages),
        images=tuple(images),
        task="interleaved",
        meta={**meta, **unused},
    )
