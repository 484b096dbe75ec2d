"""Gated cross-attention: the words look at the images from inside the language model.

No visual token stands in the text; one position marks where an image belongs. In front of chosen
layers of the language model lies a block of its own, in which each word asks the visual tokens of
the image before it. What it learns is added through a gate that is shut at the start, so that the
model begins as the language model that it was. An image costs no length of text, however many
visual tokens it has.

A sample without images skips the blocks. Words in front of the first image learn nothing from it
where a word sees the image before it; where it sees all of them, they learn the mean of their
sample's images, as in the published code.
"""

from dataclasses import dataclass
from typing import Any, Literal, final

import torch
from einops import einsum, rearrange, repeat
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import Cache, PreTrainedModel

from isthmus.fusion._layers import (
    ROUTE,
    Route,
    RoutedLayer,
    check_visits,
    chosen_layers,
    layers_of,
    require_visits,
    reroute,
)
from isthmus.fusion._layout import begins_of, laid_out
from isthmus.fusion.base import Fusion, FusionConfig, Prompt

_MEMORY = "visual_media"
"""Attribute of a cache that keeps the images for the words to come."""


@final
class GatedCrossAttention(Fusion):
    """Puts gated blocks of cross-attention in front of layers of a language model.

    Paper: Flamingo, arXiv 2204.14198, section 3.1 and figure 4, as OpenFlamingo (arXiv 2308.01390)
        built it.
    Differs: OpenFlamingo's gated feed-forward part acts on samples without images, too; here they
        skip the whole block. The position of an image holds a learned vector, where OpenFlamingo
        adds a token to the language model's embeddings.
    """

    @final
    @dataclass(frozen=True, kw_only=True)
    class Config(FusionConfig):
        """The blocks, and where they lie. The defaults are OpenFlamingo's (3B)."""

        num_heads: int = 8
        """Attention heads."""
        d_head: int = 64
        """Width of an attention head."""
        ffn_multiplier: int = 4
        """Width of the feed-forward part, in widths of the language model."""
        d_visual: int | None = None
        """Width of the visual tokens; that of the language model when None."""
        sees: Literal["latest", "all"] = "latest"
        """What a word sees: the image before it, or all images before it."""
        every: int = 1
        """A block stands before every so many-th layer, from the first on."""
        layers: tuple[int, ...] = ()
        """Numbers of the layers with a block, from 0; given by `every` when empty."""

        def __post_init__(self) -> None:
            """Checks that every count is positive.

            Raises:
                ValueError: a count is below one, or layers are chosen twice.
            """
            for name in ("num_heads", "d_head", "ffn_multiplier", "every"):
                if (value := getattr(self, name)) < 1:
                    raise ValueError(f"gated_cross_attention.{name} is {value}; expected 1 or more")
            if self.layers and self.every != 1:
                raise ValueError(
                    f"gated_cross_attention.layers and .every = {self.every} both choose layers; "
                    "give one"
                )

        @property
        def sees_every_view(self) -> bool:
            """Returns whether a word sees more images than the latest."""
            return self.sees == "all"

        def num_placeholders(self, num_tokens: int) -> int:
            """Returns one position per image."""
            return 1

        def d_tokens(self, d_text: int) -> int:
            """Returns the width that the blocks expect."""
            return self.d_visual or d_text

    def __init__(
        self, config: Config, language_model: PreTrainedModel, *, boundaries: tuple[int, int]
    ) -> None:
        """Puts the blocks before the chosen layers.

        Raises:
            ValueError: the language model has an encoder, or does not tell its layers of images.
        """
        super().__init__()
        if language_model.config.is_encoder_decoder:
            raise ValueError(
                f"{type(language_model).__name__} reads with an encoder, whose words see later "
                "images, too; choose the fusion 'inline', or a language model without an encoder"
            )
        self.config, self.language = config, language_model.config
        self.language_name = type(language_model).__name__
        table: Any = language_model.get_input_embeddings()
        d_text = table.embedding_dim
        self.marker = nn.Parameter(torch.empty(d_text))
        every_layer = layers_of(language_model)
        numbers = chosen_layers(len(every_layer), every=config.every, layers=config.layers)
        # A plain list: the layers belong to the language model.
        self.layers = [every_layer[number] for number in numbers]
        like = next(language_model.parameters())
        for layer in self.layers:
            block = GatedBlock(config, language_model.config.hidden_size, config.d_tokens(d_text))
            layer.gated_block = block.to(like)
            reroute(layer, GatedLayer)
        self.to(like)
        self.reset_parameters()
        check_visits(language_model, self._probe, len(self.layers))

    def _probe(self, marks: Bool[Tensor, "batch seq"]) -> "Media":
        like = self.marker
        width = self.config.d_tokens(len(like))
        return Media.of(marks.to(like.device), like.new_zeros(1, 1, width), self.config)

    def reset_parameters(self) -> None:
        """Draws fresh weights."""
        nn.init.normal_(self.marker, std=0.02)

    def forward(self, prompt: Prompt) -> tuple[Tensor, dict[str, Any]]:
        """Marks the places of the images, and tells the layers which ones each word may see."""
        told = laid_out(prompt, self.language, shared=None, full=False)
        if not len(prompt.visual) and not (self.training and torch.is_grad_enabled()):
            return prompt.embeds, told
        marker = self.marker.to(prompt.embeds)
        embeds = torch.where(prompt.placeholders[..., None], marker, prompt.embeds)
        visual = prompt.visual.to(embeds)
        told[ROUTE] = Media.of(prompt.placeholders, visual, self.config, prompt.segments)
        return embeds, told

    def remember(self, cache: Cache, told: dict[str, Any]) -> None:
        """Keeps the images of a prompt with the keys and values of its words."""
        if media := told.get(ROUTE):
            setattr(cache, _MEMORY, media)

    def recall(self, cache: Cache | None, length: int) -> dict[str, Any]:
        """Returns what words that follow a prompt are told: they come after all its images."""
        media: Media | None = getattr(cache, _MEMORY, None)
        return {} if media is None else {ROUTE: media.after(length)}

    def check(self, told: dict[str, Any]) -> None:
        """Checks that all layers with a block heard of the images; see `Fusion.check`."""
        if route := told.get(ROUTE):
            require_visits(self.language_name, route, len(self.layers))

    def parts(self) -> list[nn.Module]:
        """Returns the marker's owner and the blocks of each layer."""
        return [self, *(layer.get_submodule("gated_block") for layer in self.layers)]


@final
class Media(Route):
    """The images of each sample, and which of them each word may see."""

    def __init__(
        self,
        tokens: Float[Tensor, "batch images tokens d_visual"],
        time: Int[Tensor, "batch seq"],
        first: Int[Tensor, "batch seq"],
        last: Int[Tensor, "batch seq"],
        *,
        sees_all: bool,
    ) -> None:
        """Takes what each word goes by.

        Args:
            tokens: visual tokens, padded to the sample with the most images.
            time: images up to each position.
            first: those of them that belong to other samples, packed in front.
            last: images up to the end of each position's own sample.
            sees_all: whether words see all images before them.
        """
        self.tokens, self.time, self.first, self.last = tokens, time, first, last
        self.sees_all = sees_all

    @classmethod
    def of(
        cls,
        marks: Bool[Tensor, "batch seq"],
        visual: Float[Tensor, "images tokens d_visual"],
        config: GatedCrossAttention.Config,
        segments: Int[Tensor, "batch seq"] | None = None,
    ) -> "Media":
        """Sorts the images of a batch by sample.

        Args:
            marks: where an image belongs.
            visual: visual tokens of all images in reading order.
            config: what words see.
            segments: which packed sample each position belongs to.
        """
        counts, images = marks.sum(1), len(visual)
        # The one question to the device, once per forward pass; a compiled model takes the bound.
        most = images if torch.compiler.is_compiling() or not images else int(counts.max())
        ends = counts.cumsum(0)
        numbers = torch.arange(images, device=marks.device)
        sample = torch.searchsorted(ends, numbers, right=True)
        place = numbers - (ends - counts)[sample]
        empty = visual.new_zeros(len(marks), max(1, most), *visual.shape[1:])
        time = marks.cumsum(1)
        first, last = torch.zeros_like(time), counts[:, None].expand_as(time)
        if segments is not None:
            first = torch.where(begins_of(segments), time - marks.long(), 0).cummax(1).values
            together = segments[:, :, None] == segments[:, None, :]
            last = torch.where(together, time[:, None, :], 0).amax(-1)
        tokens = empty.index_put((sample, place), visual)
        return cls(tokens, time, first, last, sees_all=config.sees == "all")

    def after(self, length: int) -> "Media":
        """Returns what words behind the last one see."""
        time, first, last = (
            each[:, -1:].expand(-1, length) for each in (self.time, self.first, self.last)
        )
        return Media(self.tokens, time, first, last, sees_all=self.sees_all)

    def own(self) -> Bool[Tensor, "batch seq images"]:
        """Returns which images belong to the sample of each word."""
        numbers = torch.arange(1, self.tokens.shape[1] + 1, device=self.time.device)
        return (numbers > self.first[..., None]) & (numbers <= self.last[..., None])

    def seen(self) -> Bool[Tensor, "batch seq images"]:
        """Returns which images each word may see."""
        numbers = torch.arange(1, self.tokens.shape[1] + 1, device=self.time.device)
        time = self.time[..., None]
        before = numbers <= time if self.sees_all else numbers == time
        return before & self.own()


class GatedLayer(RoutedLayer):
    """A layer with a block in front."""

    gated_block: "GatedBlock"

    def fused(self, route: Media, hidden_states: Any, *args: Any, **kwargs: Any) -> Any:
        """Runs the block for samples with images, then the layer."""
        asked = self.gated_block(hidden_states, route)
        has_images = route.last > route.first
        states = torch.where(has_images[..., None], asked, hidden_states)
        return self.bare(states, *args, **kwargs)


@final
class GatedBlock(nn.Module):
    """Cross-attention and a feed-forward part, each added through a gate."""

    def __init__(self, config: GatedCrossAttention.Config, d_text: int, d_visual: int) -> None:
        """Builds the block with shut gates."""
        super().__init__()
        inner = config.num_heads * config.d_head
        self.num_heads = config.num_heads
        self.norm = nn.LayerNorm(d_text)
        self.query = nn.Linear(d_text, inner, bias=False)
        self.key_value = nn.Linear(d_visual, 2 * inner, bias=False)
        self.output = nn.Linear(inner, d_text, bias=False)
        self.attention_gate = nn.Parameter(torch.zeros(1))
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(d_text),
            nn.Linear(d_text, config.ffn_multiplier * d_text, bias=False),
            nn.GELU(),
            nn.Linear(config.ffn_multiplier * d_text, d_text, bias=False),
        )
        self.feed_forward_gate = nn.Parameter(torch.zeros(1))

    def forward(
        self, states: Float[Tensor, "batch seq d_text"], media: Media
    ) -> Float[Tensor, "batch seq d_text"]:
        """Returns the words after they asked the images."""
        states = states + self.attend(states, media) * self.attention_gate.tanh()
        return states + self.feed_forward(states) * self.feed_forward_gate.tanh()

    def attend(
        self, states: Float[Tensor, "batch seq d_text"], media: Media
    ) -> Float[Tensor, "batch seq d_text"]:
        """Returns what each word learns from the images that it may see."""
        seen = media.seen()
        mask = repeat(seen, "b s i -> b 1 s (i t)", t=media.tokens.shape[2])
        keys, values = self.key_value(media.tokens.flatten(1, 2)).chunk(2, dim=-1)
        query, keys, values = (
            rearrange(each, "b s (h d) -> b h s d", h=self.num_heads)
            for each in (self.query(self.norm(states)), keys, values)
        )
        # Not minus infinity: a word that may see nothing must not become a not-a-number.
        penalty = torch.zeros_like(mask, dtype=query.dtype)
        penalty = penalty.masked_fill(~mask, torch.finfo(query.dtype).min)
        asked = scaled_dot_product_attention(query, keys, values, attn_mask=penalty)
        # A word that may see nothing learns nothing, or, as published, the mean of its images.
        blank = _mean_of_own(values, media.own()) if media.sees_all else torch.zeros_like(asked)
        asked = torch.where(seen.any(-1)[:, None, :, None], asked, blank)
        return self.output(rearrange(asked, "b h s d -> b s (h d)"))


def _mean_of_own(values: Tensor, own: Tensor) -> Tensor:
    """Returns the mean of the values of each word's own images, of all their tokens."""
    of_images = rearrange(values, "b h (i t) d -> b h i t d", i=own.shape[-1]).mean(3)
    shares = own.to(values.dtype) / own.sum(-1, keepdim=True).clamp(min=1)
    return einsum(shares, of_images, "b s i, b h i d -> b h s d")


FUSION = GatedCrossAttention
