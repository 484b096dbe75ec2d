"""Idefics2's resampler: a few learned latents read the patches at the language model's width.

A gated perceptron brings the patches to that width. The latents start the same for every image. In
each layer they ask, and the patches and the latents themselves answer, with fewer heads of keys
and values than of queries; a gated feed-forward part follows; both add to the latents. The norms
are those of a language model, and padded patches are not looked at.
"""

from dataclasses import dataclass
from typing import final

import torch
from einops import rearrange, repeat
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import pad, rms_norm, scaled_dot_product_attention, silu

from isthmus.axes import Patches
from isthmus.connectors.base import Connector, ConnectorConfig

LATENT_STD = 0.02
"""Standard deviation of fresh latents."""


@final
class Idefics2Resampler(Connector):
    """Maps the patches to the language model's width, then reads them into latents.

    Paper: Idefics2, arXiv 2405.02246, and its code, the Idefics2Connector of transformers.
    Shape: (images, patches, d_vision) -> (images, queries, d_text).
    Differs: latents start at N(0, 0.02), where the code starts them at one: all tokens of an image
    are then the same, and get the same gradient. No dropout on the attention (it is 0 in the
    published models).
    """

    reads_masks = True

    @final
    @dataclass(frozen=True, kw_only=True)
    class Config(ConnectorConfig):
        """Latents and layers of the resampler; its width is that of the language model."""

        num_latents: int = 64
        """Visual tokens per image."""
        depth: int = 3
        """Layers of cross-attention and feed-forward."""
        num_heads: int = 16
        """Heads of queries."""
        num_key_value_heads: int | None = None
        """Heads of keys and values, which the heads of queries share evenly; None: a quarter as
        many as of queries (Idefics2: 4), or one."""
        d_head: int = 96
        """Width of an attention head."""
        ffn_multiplier: int = 4
        """Inner width of the feed-forward parts, in widths of a token."""
        modality_projection: bool = True
        """Whether the patches pass a gated perceptron first; else they pass a linear map, or
        nothing where they are as wide as the tokens."""
        d_projection: int | None = None
        """Inner width of that perceptron (Idefics2: 14336, as in Mistral's own feed-forward parts);
        None: that of the feed-forward parts here."""
        norm_eps: float = 1e-6
        """What the norms add to the mean square."""

        def __post_init__(self) -> None:
            """Checks the counts, and that the heads can be shared out.

            Raises:
                ValueError: a count is below one, the heads of queries are no multiple of those of
                    keys and values, or a width is given for a perceptron that is not there.
            """
            counts = ("num_latents", "depth", "num_heads", "num_key_value_heads", "d_head")
            for name in (*counts, "ffn_multiplier", "d_projection"):
                if (value := getattr(self, name)) is not None and value < 1:
                    raise ValueError(f"idefics2_resampler.{name} is {value}; expected 1 or more")
            if self.num_heads % self.num_shared:
                raise ValueError(
                    f"idefics2_resampler.num_heads is {self.num_heads}; expected a multiple of "
                    f"num_key_value_heads, which is {self.num_shared}"
                )
            if self.d_projection is not None and not self.modality_projection:
                raise ValueError(
                    f"idefics2_resampler.d_projection is {self.d_projection}, but there is no "
                    "modality projection; leave it out, or set modality_projection"
                )

        @property
        def num_shared(self) -> int:
            """Heads of keys and values."""
            return self.num_key_value_heads or max(1, self.num_heads // 4)

        def num_tokens(self, grid: tuple[int, int]) -> int:
            """Returns one token per latent, whatever the grid."""
            return self.num_latents

    def __init__(
        self, config: Config, *, d_vision: int, d_text: int, grid: tuple[int, int]
    ) -> None:
        """Builds the projection, the latents and the layers; the grid does not matter to them."""
        super().__init__()
        self.config = config
        self.latents = nn.Parameter(torch.empty(config.num_latents, d_text))
        self.projection: nn.Module = nn.Identity()
        if config.modality_projection:
            inside = config.d_projection or config.ffn_multiplier * d_text
            self.projection = GatedPerceptron(d_vision, inside, d_text)
        elif d_vision != d_text:
            self.projection = nn.Linear(d_vision, d_text, bias=False)
        self.layers = nn.ModuleList(ResamplerLayer(config, d_text) for _ in range(config.depth))
        self.norm = RMSNorm(d_text, config.norm_eps)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws fresh weights."""
        super().reset_parameters()
        nn.init.normal_(self.latents, std=LATENT_STD)

    def forward(self, patches: Patches) -> Float[Tensor, "images tokens d_text"]:
        """Reads the patches of each image into the latents."""
        features = self.projection(patches.features)
        mask = patches.mask
        if mask is not None:
            # The latents stand behind the patches among the keys, and are never hidden.
            mask = pad(mask, (0, len(self.latents)), value=True)[:, None, None]
        latents = repeat(self.latents, "queries d -> images queries d", images=len(features))
        for layer in self.layers:
            latents = layer(latents, features, mask)
        return self.norm(latents)


@final
class ResamplerLayer(nn.Module):
    """One layer: the latents attend to patches and latents, then pass a gated perceptron."""

    def __init__(self, config: Idefics2Resampler.Config, width: int) -> None:
        """Builds the attention and the feed-forward part, neither with biases."""
        super().__init__()
        inner = config.num_heads * config.d_head
        shared = config.num_shared * config.d_head
        self.num_shared = config.num_shared
        self.d_head = config.d_head
        self.patch_norm = RMSNorm(width, config.norm_eps)
        self.latent_norm = RMSNorm(width, config.norm_eps)
        self.query = nn.Linear(width, inner, bias=False)
        self.key = nn.Linear(width, shared, bias=False)
        self.value = nn.Linear(width, shared, bias=False)
        self.output = nn.Linear(inner, width, bias=False)
        self.feed_forward_norm = RMSNorm(width, config.norm_eps)
        self.feed_forward = GatedPerceptron(width, config.ffn_multiplier * width, width)

    def forward(
        self,
        latents: Float[Tensor, "images queries d_text"],
        patches: Float[Tensor, "images patches d_text"],
        mask: Bool[Tensor, "images 1 1 _"] | None,
    ) -> Float[Tensor, "images queries d_text"]:
        """Returns the latents after this layer."""
        asking = self.latent_norm(latents)
        answering = torch.cat([self.patch_norm(patches), asking], dim=1)
        # Heads of queries that share keys are so many more queries to them.
        query = rearrange(
            self.query(asking),
            "images queries (shared group d) -> images shared (group queries) d",
            shared=self.num_shared,
            d=self.d_head,
        )
        key, value = (
            rearrange(states, "images seq (shared d) -> images shared seq d", d=self.d_head)
            for states in (self.key(answering), self.value(answering))
        )
        attended = rearrange(
            scaled_dot_product_attention(query, key, value, attn_mask=mask),
            "images shared (group queries) d -> images queries (shared group d)",
            queries=latents.shape[1],
        )
        latents = latents + self.output(attended)
        return latents + self.feed_forward(self.feed_forward_norm(latents))


@final
class GatedPerceptron(nn.Module):
    """Two linear maps side by side, one through SiLU a gate to the other, then a third."""

    def __init__(self, before: int, inside: int, after: int) -> None:
        """Builds the three maps, without biases."""
        super().__init__()
        self.gate = nn.Linear(before, inside, bias=False)
        self.up = nn.Linear(before, inside, bias=False)
        self.down = nn.Linear(inside, after, bias=False)

    def forward(self, states: Float[Tensor, "images _ _"]) -> Tensor:
        """Maps each vector."""
        return self.down(silu(self.gate(states)) * self.up(states))


@final
class RMSNorm(nn.Module):
    """Divides by the root of the mean square, in 32 bits, and hands on the dtype it was given.

    torch's own warns where autocast brings it states of another dtype than its weight.
    """

    def __init__(self, width: int, eps: float) -> None:
        """Builds the weight."""
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.empty(width))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Sets the weight to one."""
        nn.init.ones_(self.weight)

    def forward(self, states: Float[Tensor, "images _ _"]) -> Float[Tensor, "images _ _"]:
        """Norms each vector."""
        normed = rms_norm(states.float(), self.weight.shape, self.weight.float(), self.eps)
        return normed.to(states.dtype)


CONNECTOR = Idefics2Resampler
