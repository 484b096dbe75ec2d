"""What the vision transformers of our own share: patches with positions, attention, perceptron."""

from typing import final

import torch
from einops import rearrange, repeat
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import interpolate
from transformers import PreTrainedConfig
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.siglip.modeling_siglip import eager_attention_forward


@final
class PatchEmbedding(nn.Module):
    """Cuts an image into patches, each mapped to a vector, and tells each where it lies.

    Shape: (images, 3, height, width) -> (images, seq, d_vision), the class token first.
    """

    def __init__(
        self, *, width: int, image_size: int, patch_size: int, class_token: bool, bias: bool
    ) -> None:
        """Builds the map and one position per patch, and one for the class token.

        Args:
            width: of a patch's vector.
            image_size: height and width of the image that the positions are learned for, pixels.
            patch_size: height and width of a patch, pixels.
            class_token: whether a learned token stands before the patches.
            bias: whether the map has one.
        """
        super().__init__()
        side = image_size // patch_size
        self.grid = (side, side)
        self.projection = nn.Conv2d(3, width, kernel_size=patch_size, stride=patch_size, bias=bias)
        self.class_token = nn.Parameter(torch.empty(1, width)) if class_token else None
        self.num_prefix = int(class_token)
        self.positions = nn.Parameter(torch.empty(self.num_prefix + side * side, width))

    def draw(self, std: float) -> None:
        """Draws a fresh class token and positions.

        Args:
            std: their standard deviation.
        """
        nn.init.trunc_normal_(self.positions, std=std)
        if self.class_token is not None:
            nn.init.trunc_normal_(self.class_token, std=std)

    def forward(
        self, pixel_values: Float[Tensor, "images 3 height width"], *, interpolated: bool
    ) -> Float[Tensor, "images seq d_vision"]:
        """Returns the patches of images.

        Args:
            pixel_values: normalised images.
            interpolated: whether positions may be interpolated for images of another size.

        Raises:
            ValueError: the images are of another size, and positions may not be interpolated.
        """
        cells = self.projection(pixel_values)
        grid = (cells.shape[-2], cells.shape[-1])
        if grid != self.grid and not interpolated:
            raise ValueError(
                f"images of {grid[0]} x {grid[1]} patches came to positions learned for "
                f"{self.grid[0]} x {self.grid[1]}; resize the images, or pass "
                "interpolate_pos_encoding=True"
            )
        tokens = rearrange(cells, "i d r c -> i (r c) d")
        if self.class_token is not None:
            first = repeat(self.class_token, "1 d -> i 1 d", i=len(tokens))
            tokens = torch.cat([first, tokens], dim=1)
        return tokens + self._positions_on(grid)

    def _positions_on(self, grid: tuple[int, int]) -> Tensor:
        """Returns the positions of a grid; bicubic between the learned ones, as transformers does.

        The class token's position stays as it is.
        """
        if grid == self.grid:
            return self.positions
        prefix, learned = self.positions[: self.num_prefix], self.positions[self.num_prefix :]
        cells = rearrange(learned, "(r c) d -> 1 d r c", r=self.grid[0])
        resized = interpolate(cells, size=grid, mode="bicubic", align_corners=False)
        return torch.cat([prefix, rearrange(resized, "1 d r c -> (r c) d")])


@final
class SelfAttention(nn.Module):
    """Attention among all tokens of an image; queries, keys and values come of one matrix."""

    is_causal = False
    """What transformers' attention functions ask of a module: all tokens see each other."""

    def __init__(self, config: PreTrainedConfig) -> None:
        """Builds the maps, with biases; rows are queries, keys, values, and heads within each."""
        super().__init__()
        self.config = config
        self.num_heads = config.num_attention_heads
        self.scale = (config.hidden_size // self.num_heads) ** -0.5
        self.qkv = nn.Linear(config.hidden_size, 3 * config.hidden_size)
        self.output = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(
        self, states: Float[Tensor, "images seq d_vision"]
    ) -> Float[Tensor, "images seq d_vision"]:
        """Returns what each token gathers from all."""
        queries, keys, values = rearrange(
            self.qkv(states), "i s (three h d) -> three i h s d", three=3, h=self.num_heads
        )
        attend = ALL_ATTENTION_FUNCTIONS.get_interface(
            self.config._attn_implementation, eager_attention_forward
        )
        gathered, _ = attend(self, queries, keys, values, attention_mask=None, scaling=self.scale)
        return self.output(rearrange(gathered, "i s h d -> i s (h d)"))


@final
class FeedForward(nn.Module):
    """Two linear layers with the exact GELU between them."""

    def __init__(self, config: PreTrainedConfig) -> None:
        """Builds the layers."""
        super().__init__()
        self.fc1 = nn.Linear(config.hidden_size, config.intermediate_size)
        self.activation = nn.GELU()
        self.fc2 = nn.Linear(config.intermediate_size, config.hidden_size)

    def forward(
        self, states: Float[Tensor, "images seq d_vision"]
    ) -> Float[Tensor, "images seq d_vision"]:
        """Maps each token."""
        return self.fc2(self.activation(self.fc1(states)))
