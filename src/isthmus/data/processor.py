"""What the data path asks of a processor; the real one lives in `modeling`."""

from typing import Any, Protocol, runtime_checkable

from jaxtyping import UInt8
from PIL.Image import Image
from torch import Tensor


@runtime_checkable
class Processor(Protocol):
    """Turns text into token ids and images into pixels, as the model's towers need them."""

    tokenizer: Any
    """A fast tokenizer of transformers, which knows the image token."""
    chat_template: str | dict[str, str] | None
    """Jinja template that renders a conversation, best with generation marks around the answers."""
    image_token: str
    """Text that stands for one image in a rendered conversation."""
    image_token_id: int
    """Token id of the placeholder; one stands for each visual token."""
    num_image_tokens: int
    """Visual tokens of an image."""

    def pixels(self, image: Image) -> UInt8[Tensor, "3 height width"]:
        """Returns an image at the size of the vision tower, not normalised."""
        ...
