"""Perceiver resampler: a few learned latents read the patches by cross-attention, layer by layer.

The latents start the same for every image. In each layer they ask, and the patches and the latents
themselves answer; a feed-forward part follows; both add to the latents. After the last layer the
latents are mapped to the width of the language model. So every image costs the same few tokens,
and a clip, whose frames lie behind one another among the patches, costs no more than an image.
"""

from dataclasses import dataclass
from typing import Literal, final

import torch
from einops import rearrange, repeat
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import interpolate, pad, scaled_dot_product_attention
from transformers.activations import ACT2FN

from isthmus.axes import Patches
from isthmus.connectors._positions import CellPositions
from isthmus.connectors.base import Connector, ConnectorConfig

STD = 0.02
"""Standard deviation of fresh latents and embeddings."""


@final
class PerceiverResampler(Connector):
    """Reads the patches into a fixed number of latents.

    Paper: Flamingo, arXiv 2204.14198, section 3.1 and figure 5; the baseline adapter of
    PaLM2-VAdapter, arXiv 2402.10896, section 4.1 and table 1. OpenFlamingo, arXiv 2308.01390, and
    Idefics, arXiv 2306.16527, are these with other settings.
    Shape: (images, patches, d_vision) -> (images, queries, d_text).
    Differs: latents and embeddings start at N(0, 0.02), where OpenFlamingo draws N(0, 1). A linear
    map to the language model's width follows, unless `project` is off: Flamingo's gated layers
    take the latents as they are. Flamingo interpolates its embeddings for clips of more frames
    than it trained on, but does not say how; here the first and the last frame keep theirs.
    """

    reads_masks = True

    @final
    @dataclass(frozen=True, kw_only=True)
    class Config(ConnectorConfig):
        """Latents, layers, and what is learned of place and time."""

        num_latents: int = 64
        """Visual tokens per image (Flamingo: 64; PaLM2-VAdapter: 256)."""
        depth: int = 6
        """Layers of cross-attention and feed-forward."""
        num_heads: int = 8
        """Attention heads."""
        d_head: int = 64
        """Width of an attention head."""
        d_hidden: int | None = None
        """Width of the latents; a linear map brings the patches to it where they differ. None: the
        width of the patches or, where `project` is off, that of the language model."""
        ffn_multiplier: int = 4
        """Inner width of the feed-forward part, in widths of a latent; 0: there is no such part."""
        activation: Literal["gelu", "relu", "relu2"] = "gelu"
        """Of the feed-forward part: exact GELU (OpenFlamingo), ReLU (Idefics) or its square
        (Flamingo), under transformers' names."""
        input_norm: Literal["separate", "shared", "none"] = "separate"
        """Layer norms before attention: patches and latents have one each, share one, or pass
        without (the arms of PaLM2-VAdapter, table 1)."""
        qk_layer_norms: bool = False
        """Whether a layer norm stands on the queries and one on the keys, over each head (an
        option of Idefics)."""
        final_norm: bool = True
        """Whether a layer norm follows the last layer (PaLM2-VAdapter's best has none)."""
        patch_positions: bool = False
        """Whether a learned vector per cell of the grid is added to the patches."""
        num_frames: int = 0
        """Learned frame embeddings: a clip of as many frames or fewer takes the first, one of more
        frames interpolates; 0: none."""
        num_media: int = 0
        """Learned embeddings of an image's place among those of its sample; 0: none."""
        project: bool = True
        """Whether a linear map brings the latents to the width of the language model."""

        def __post_init__(self) -> None:
            """Checks the counts and widths.

            Raises:
                ValueError: one is too small.
            """
            for name in ("num_latents", "depth", "num_heads", "d_head", "d_hidden"):
                if (value := getattr(self, name)) is not None and value < 1:
                    raise ValueError(f"perceiver_resampler.{name} is {value}; expected 1 or more")
            for name in ("ffn_multiplier", "num_frames", "num_media"):
                if (value := getattr(self, name)) < 0:
                    raise ValueError(f"perceiver_resampler.{name} is {value}; expected 0 or more")

        def num_tokens(self, grid: tuple[int, int]) -> int:
            """Returns one token per latent, whatever the grid."""
            return self.num_latents

    def __init__(
        self, config: Config, *, d_vision: int, d_text: int, grid: tuple[int, int]
    ) -> None:
        """Builds the latents and layers.

        Raises:
            ValueError: the latents are handed on as they are, and the language model is of another
                width.
        """
        super().__init__()
        width = config.d_hidden or (d_vision if config.project else d_text)
        if not config.project and width != d_text:
            raise ValueError(
                f"perceiver_resampler.d_hidden is {width} and the language model {d_text} wide; "
                "without `project` both have to be equal: set project, or leave d_hidden out"
            )
        self.config = config
        self.latents = nn.Parameter(torch.empty(config.num_latents, width))
        self.patch_projection = nn.Linear(d_vision, width) if width != d_vision else nn.Identity()
        self.positions = CellPositions(grid, width) if config.patch_positions else None
        self.frame_embeddings = _vectors(config.num_frames, width)
        self.media_embeddings = _vectors(config.num_media, 1, width)
        self.layers = nn.ModuleList(ResamplerLayer(config, width) for _ in range(config.depth))
        self.norm = nn.LayerNorm(width) if config.final_norm else nn.Identity()
        self.projection = nn.Linear(width, d_text) if config.project else nn.Identity()
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws fresh weights."""
        super().reset_parameters()
        for parameter in (self.latents, self.frame_embeddings, self.media_embeddings):
            if parameter is not None:
                nn.init.normal_(parameter, std=STD)

    def forward(self, patches: Patches) -> Float[Tensor, "images tokens d_text"]:
        """Reads the patches of each image into the latents.

        Raises:
            ValueError: places among a sample's images are learned, and the patches do not say them.
        """
        features = self._placed(patches)
        mask = patches.mask
        if mask is not None:
            # The latents stand behind the patches among the keys, and are never hidden.
            mask = pad(mask, (0, len(self.latents)), value=True)[:, None, None]
        latents = repeat(self.latents, "queries d -> images queries d", images=len(features))
        for layer in self.layers:
            latents = layer(latents, features, mask)
        return self.projection(self.norm(latents))

    def _placed(self, patches: Patches) -> Tensor:
        """Returns the patches, at the width of the latents, with what is learned of their place."""
        features = self.patch_projection(patches.features)
        if self.positions is not None:
            cells = _cells(self.positions, patches)
            features = features + repeat(cells, "i p d -> i (f p) d", f=patches.num_frames)
        if self.frame_embeddings is not None:
            rows, columns = patches.grid
            frames = _frames(self.frame_embeddings, patches.num_frames)
            features = features + repeat(frames, "f d -> (f p) d", p=rows * columns)
        if self.media_embeddings is not None:
            if patches.media_index is None:
                raise ValueError(
                    "perceiver_resampler.num_media asks for the place of each image in its "
                    "sample; give Patches with a media_index, or set num_media to 0"
                )
            features = features + self.media_embeddings[patches.media_index]
        return features


@final
class ResamplerLayer(nn.Module):
    """One layer: the latents attend to patches and latents, then pass a feed-forward part."""

    def __init__(self, config: PerceiverResampler.Config, width: int) -> None:
        """Builds the attention (no biases) and the feed-forward part (no biases)."""
        super().__init__()
        inner = config.num_heads * config.d_head
        inside = config.ffn_multiplier * width
        norms, qk_norms = config.input_norm != "none", config.qk_layer_norms
        self.num_heads = config.num_heads
        self.patch_norm = nn.LayerNorm(width) if norms else nn.Identity()
        self.latent_norm = nn.LayerNorm(width) if config.input_norm == "separate" else None
        self.query = nn.Linear(width, inner, bias=False)
        self.key_value = nn.Linear(width, 2 * inner, bias=False)
        self.query_norm = nn.LayerNorm(config.d_head) if qk_norms else nn.Identity()
        self.key_norm = nn.LayerNorm(config.d_head) if qk_norms else nn.Identity()
        self.output = nn.Linear(inner, width, bias=False)
        self.feed_forward = None
        if inside:
            self.feed_forward = nn.Sequential(
                nn.LayerNorm(width),
                nn.Linear(width, inside, bias=False),
                ACT2FN[config.activation],
                nn.Linear(inside, width, bias=False),
            )

    def forward(
        self,
        latents: Float[Tensor, "images queries d_hidden"],
        patches: Float[Tensor, "images patches d_hidden"],
        mask: Bool[Tensor, "images 1 1 _"] | None,
    ) -> Float[Tensor, "images queries d_hidden"]:
        """Returns the latents after this layer."""
        latent_norm = self.patch_norm if self.latent_norm is None else self.latent_norm
        asking = latent_norm(latents)
        answering = torch.cat([self.patch_norm(patches), asking], dim=1)
        keys, values = self.key_value(answering).chunk(2, dim=-1)
        query, key, value = (
            rearrange(states, "images seq (heads d) -> images heads seq d", heads=self.num_heads)
            for states in (self.query(asking), keys, values)
        )
        attended = scaled_dot_product_attention(
            self.query_norm(query), self.key_norm(key), value, attn_mask=mask
        )
        latents = latents + self.output(rearrange(attended, "i heads q d -> i q (heads d)"))
        if self.feed_forward is None:
            return latents
        return latents + self.feed_forward(latents)


def _vectors(number: int, *shape: int) -> nn.Parameter | None:
    return nn.Parameter(torch.empty(number, *shape)) if number else None


def _cells(positions: CellPositions, patches: Patches) -> Tensor:
    """Returns the positions of a frame's patches, by the size that each image really has."""
    if patches.mask is None:
        return positions(patches.grid)[None]
    sizes = patches.sizes()
    cells = positions.weight.new_zeros(len(sizes), *patches.grid, positions.weight.shape[-1])
    for index, (rows, columns) in enumerate(sizes):
        cells[index, :rows, :columns] = rearrange(
            positions((rows, columns)), "(r c) d -> r c d", r=rows
        )
    return rearrange(cells, "i r c d -> i (r c) d")


def _frames(embeddings: Tensor, number: int) -> Tensor:
    """Returns the first embeddings, or as many as asked between the first and the last."""
    if number <= len(embeddings):
        return embeddings[:number]
    along = rearrange(embeddings, "f d -> 1 d f")
    longer = interpolate(along, size=number, mode="linear", align_corners=True)
    return rearrange(longer, "1 d f -> f d")


CONNECTOR = PerceiverResampler
