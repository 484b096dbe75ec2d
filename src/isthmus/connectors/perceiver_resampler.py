"""Perceiver resampler: a few learned latents read the patches by cross-attention, layer by layer.

The latents start the same for every image. In each layer they ask, and the patches and the latents
themselves answer; a feed-forward part follows; both add to the latents. After the last layer the
latents are mapped to the width of the language model. So every image costs the same few tokens.
"""

from dataclasses import dataclass
from typing import final

import torch
from einops import rearrange, repeat
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from isthmus.axes import Patches
from isthmus.connectors.base import Connector, ConnectorConfig

LATENT_STD = 0.02
"""Standard deviation of fresh latents and patch positions."""


@final
class PerceiverResampler(Connector):
    """Reads the patches into a fixed number of latents.

    Paper: Flamingo, arXiv 2204.14198, section 3.1 and figure 5; the baseline adapter of
    PaLM2-VAdapter, arXiv 2402.10896, section 4.1 and table 1, which has no final norm.
    Shape: (images, patches, d_vision) -> (images, queries, d_text).
    Differs: latents start at N(0, 0.02), where OpenFlamingo draws N(0, 1) and Honeybee's
    baseline starts at zero (all its tokens are then the same at first). A linear map to the
    language model's width follows, where Flamingo's gated layers take the latents as they are.
    No time or media embeddings: an image is one frame.
    """

    @final
    @dataclass(frozen=True, kw_only=True)
    class Config(ConnectorConfig):
        """Latents and layers of the resampler; its width is that of the patches."""

        num_latents: int = 64
        """Visual tokens per image (Flamingo: 64; PaLM2-VAdapter: 256)."""
        depth: int = 6
        """Layers of cross-attention and feed-forward."""
        num_heads: int = 8
        """Attention heads."""
        d_head: int = 64
        """Width of an attention head."""
        ffn_multiplier: int = 4
        """Width of the feed-forward part, in widths of a patch."""
        final_norm: bool = True
        """Whether a layer norm follows the last layer (PaLM2-VAdapter's best has none)."""
        patch_positions: bool = False
        """Whether a learned vector per cell of the grid is added to the patches."""

        def __post_init__(self) -> None:
            """Checks that every count is positive.

            Raises:
                ValueError: a count is below one.
            """
            for name in ("num_latents", "depth", "num_heads", "d_head", "ffn_multiplier"):
                if (value := getattr(self, name)) < 1:
                    raise ValueError(f"perceiver_resampler.{name} is {value}; expected 1 or more")

        def num_tokens(self, grid: tuple[int, int]) -> int:
            """Returns one token per latent, whatever the grid."""
            return self.num_latents

    def __init__(
        self, config: Config, *, d_vision: int, d_text: int, grid: tuple[int, int]
    ) -> None:
        """Builds the latents and layers."""
        super().__init__()
        self.config = config
        self.latents = nn.Parameter(torch.empty(config.num_latents, d_vision))
        self.grid = grid
        self.positions = (
            nn.Parameter(torch.empty(grid[0] * grid[1], d_vision))
            if config.patch_positions
            else None
        )
        self.layers = nn.ModuleList(ResamplerLayer(config, d_vision) for _ in range(config.depth))
        self.norm = nn.LayerNorm(d_vision) if config.final_norm else nn.Identity()
        self.projection = nn.Linear(d_vision, d_text)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws fresh weights."""
        super().reset_parameters()
        nn.init.normal_(self.latents, std=LATENT_STD)
        if self.positions is not None:
            nn.init.normal_(self.positions, std=LATENT_STD)

    def forward(self, patches: Patches) -> Float[Tensor, "images tokens d_text"]:
        """Reads the patches of each image into the latents.

        Raises:
            ValueError: positions are learned and the grid is not the one they were learned for.
        """
        features = patches.features
        if self.positions is not None:
            if patches.grid != self.grid:
                raise ValueError(
                    f"patch positions were learned for a grid of {self.grid}, not {patches.grid}; "
                    "give images of the size the model was built for"
                )
            features = features + self.positions
        latents = repeat(self.latents, "queries d -> images queries d", images=len(features))
        for layer in self.layers:
            latents = layer(latents, features)
        return self.projection(self.norm(latents))


@final
class ResamplerLayer(nn.Module):
    """One layer: the latents attend to patches and latents, then pass a feed-forward part."""

    def __init__(self, config: PerceiverResampler.Config, width: int) -> None:
        """Builds the attention (no biases) and the feed-forward part (no biases)."""
        super().__init__()
        inner = config.num_heads * config.d_head
        self.num_heads = config.num_heads
        self.patch_norm = nn.LayerNorm(width)
        self.latent_norm = nn.LayerNorm(width)
        self.query = nn.Linear(width, inner, bias=False)
        self.key_value = nn.Linear(width, 2 * inner, bias=False)
        self.output = nn.Linear(inner, width, bias=False)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, config.ffn_multiplier * width, bias=False),
            nn.GELU(),
            nn.Linear(config.ffn_multiplier * width, width, bias=False),
        )

    def forward(
        self,
        latents: Float[Tensor, "images queries d_vision"],
        patches: Float[Tensor, "images patches d_vision"],
    ) -> Float[Tensor, "images queries d_vision"]:
        """Returns the latents after this layer."""
        asking = self.latent_norm(latents)
        # The latents stand behind the patches among the keys: each may also attend to its peers.
        answering = torch.cat([self.patch_norm(patches), asking], dim=1)
        keys, values = self.key_value(answering).chunk(2, dim=-1)
        heads = (
            rearrange(states, "images seq (heads d) -> images heads seq d", heads=self.num_heads)
            for states in (self.query(asking), keys, values)
        )
        attended = rearrange(
            scaled_dot_product_attention(*heads), "images heads seq d -> images seq (heads d)"
        )
        latents = latents + self.output(attended)
        return latents + self.feed_forward(latents)


CONNECTOR = PerceiverResampler
