"""The frames of a clip, for connectors that look at one frame at a time."""

from einops import rearrange
from jaxtyping import Float
from torch import Tensor


def apart(
    features: Float[Tensor, "images _ d_vision"], num_frames: int
) -> Float[Tensor, "_ patches d_vision"]:
    """Returns the patches of each frame as those of an image of its own."""
    return rearrange(features, "i (f p) d -> (i f) p d", f=num_frames)


def one_after_another(
    tokens: Float[Tensor, "_ queries _"], num_frames: int
) -> Float[Tensor, "images tokens _"]:
    """Returns the tokens of each clip: those of its first frame, then those of the next."""
    return rearrange(tokens, "(i f) q d -> i (f q) d", f=num_frames)
