"""What the data path asks of a processor; the real one lives in `modeling`."""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from jaxtyping import UInt8
from PIL.Image import Image
from torch import Tensor


@runtime_checkable
class ImageProcessor(Protocol):
    """Turns images into pixels, as the model's towers need them."""

    @property
    def max_tiles(self) -> int | None:
        """Most tiles of one picture beside the view of the whole; None where it has one view."""
        ...

    def num_views(self, width: int, height: int) -> int:
        """Returns as how many views a picture of this size is shown, upright and in pixels."""
        ...

    def views(self, image: Image) -> UInt8[Tensor, "images 3 height width"]:
        """Returns the views of an image at the size of the vision tower, not normalised."""
        ...


@runtime_checkable
class Processor(ImageProcessor, Protocol):
    """Turns text into token ids, too."""

    tokenizer: Any
    """A fast tokenizer of transformers, which knows the image token."""
    chat_template: str | dict[str, str] | None
    """Jinja template that renders a conversation, best with generation marks around the answers."""
    image_token: str
    """Text that stands for one image in a rendered conversation."""
    image_token_id: int
    """Token id of the placeholder; one stands for each visual token."""
    num_image_tokens: int
    """Positions that one view of an image takes in the text."""
    is_encoder_decoder: bool
    """Whether an encoder reads what was said, and a decoder writes the answer; else one stack of
    layers does both."""

    def asked(self, instructions: Sequence[str]) -> dict[str, Tensor]:
        """Returns what a connector that reads instructions is told, one for each view.

        Under the names of `Batch`; nothing where it reads none.
        """
        ...
