"""The body of a Q-Former: a BERT whose query rows also read an image.

Queries and text are rows of one sequence. They meet in self-attention, under a mask that says who
sees whom; in every second layer the queries, and they alone, also attend to the patches; then
queries and text pass a feed-forward part of their own. What BLIP-2's objectives ask of the body
(queries alone, text alone, both, text that goes on from the queries) differs in what it is given.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, final

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import gelu, scaled_dot_product_attention

KeysValues = tuple[Float[Tensor, "batch heads _ d_head"], Float[Tensor, "batch heads _ d_head"]]
"""What rows or patches answer in an attention."""


@final
@dataclass(frozen=True, kw_only=True)
class BodySettings:
    """All that the body is built from."""

    d_vision: int
    """Width of a patch."""
    d_hidden: int
    """Width of a row."""
    d_ffn: int
    """Inner width of a feed-forward part."""
    depth: int
    """Layers."""
    num_heads: int
    """Attention heads."""
    cross_attention_every: int
    """The first of so many layers attends to the patches."""
    dropout: float
    """Share of zeroed attention weights and states in training."""
    norm_eps: float
    """Epsilon of the layer norms."""
    has_text: bool
    """Whether there are feed-forward parts for text rows."""


@final
class QFormerBody(nn.Module):
    """Layers that queries and text pass together.

    Paper: BLIP-2, arXiv 2301.12597, section 3.1 and figure 2.
    """

    def __init__(self, settings: BodySettings) -> None:
        """Builds the norm of the incoming rows, and the layers."""
        super().__init__()
        self.has_text = settings.has_text
        self.norm = nn.LayerNorm(settings.d_hidden, eps=settings.norm_eps)
        self.dropout = nn.Dropout(settings.dropout)
        self.layers = nn.ModuleList(
            QFormerLayer(settings, sees_patches=index % settings.cross_attention_every == 0)
            for index in range(settings.depth)
        )

    def read(self, patches: Float[Tensor, "batch patches d_vision"]) -> list[KeysValues | None]:
        """Returns what the patches answer in each layer; None where it does not ask.

        It depends on nothing but the image, so several passes over an image can share it.
        """
        layers: Iterable[Any] = self.layers
        return [layer.read(patches) for layer in layers]

    def forward(
        self,
        states: Float[Tensor, "batch seq d_hidden"],
        *,
        num_queries: int,
        mask: Bool[Tensor, "#batch #seq _"] | None = None,
        image: Sequence[KeysValues | None] | None = None,
        patch_mask: Bool[Tensor, "#batch patches"] | None = None,
        past: Sequence[KeysValues] | None = None,
        keeps_text: bool = True,
    ) -> tuple[Float[Tensor, "batch _ d_hidden"], list[KeysValues]]:
        """Returns the rows after the last layer, and the `past` of rows that go on from them.

        Args:
            states: queries, then embeddings of text; either may be absent.
            num_queries: how many of the rows are queries.
            mask: true where a row (second axis) sees a row (third axis; those of the past come
                first). None: every row sees every row.
            image: what `read` returned; needed where there are queries.
            patch_mask: false at patches that no query sees.
            past: what earlier rows answered in each self-attention, and these rows see too.
            keeps_text: whether rows of text are returned, too; else the last layer leaves them out.

        Raises:
            ValueError: there are queries and no image, or text rows in a body without a text side.
        """
        if num_queries and image is None:
            raise ValueError(f"{num_queries} queries have no image to read; give `image`")
        num_text = states.shape[1] - num_queries
        if num_text and not self.has_text:
            raise ValueError(f"{num_text} rows of text in a Q-Former that has no text side")
        # One mask for all heads.
        mask = None if mask is None else mask[:, None]
        patch_mask = None if patch_mask is None else patch_mask[:, None, None]
        nothing = [None] * len(self.layers)
        states = self.dropout(self.norm(states))
        answers = []
        for number, (layer, seen, earlier) in enumerate(
            zip(self.layers, image or nothing, past or nothing, strict=True), start=1
        ):
            wanted = states.shape[1]
            if number == len(self.layers) and not keeps_text:
                wanted = num_queries
            states, answered = layer(states, num_queries, mask, seen, patch_mask, earlier, wanted)
            answers.append(answered)
        return states, answers


@final
class QFormerLayer(nn.Module):
    """Self-attention of all rows, cross-attention of the queries, a feed-forward part for each."""

    def __init__(self, settings: BodySettings, *, sees_patches: bool) -> None:
        """Builds the parts; without a text side there is one feed-forward part."""
        super().__init__()
        self.self_attention = Attention(settings, d_source=settings.d_hidden)
        self.cross_attention = (
            Attention(settings, d_source=settings.d_vision) if sees_patches else None
        )
        self.query_ffn = FeedForward(settings)
        self.text_ffn = FeedForward(settings) if settings.has_text else None

    def read(self, patches: Float[Tensor, "batch patches d_vision"]) -> KeysValues | None:
        """Returns what the patches answer; None where this layer does not ask."""
        return None if self.cross_attention is None else self.cross_attention.read(patches)

    def forward(
        self,
        states: Float[Tensor, "batch seq d_hidden"],
        num_queries: int,
        mask: Bool[Tensor, "#batch 1 #seq _"] | None,
        image: KeysValues | None,
        patch_mask: Bool[Tensor, "#batch 1 1 patches"] | None,
        past: KeysValues | None,
        wanted: int,
    ) -> tuple[Float[Tensor, "batch _ d_hidden"], KeysValues]:
        """Returns the first rows after this layer, and what all rows answered in self-attention."""
        answered = self.self_attention.read(states)
        if past is not None:
            answered = _joined(past, answered)
        states = states[:, :wanted]
        mask = None if mask is None else mask[:, :, :wanted]
        states = self.self_attention(states, answered, mask)
        parts = []
        if num_queries:
            queries = states[:, :num_queries]
            if self.cross_attention is not None and image is not None:
                queries = self.cross_attention(queries, image, patch_mask)
            parts.append(self.query_ffn(queries))
        if self.text_ffn is not None and num_queries < states.shape[1]:
            parts.append(self.text_ffn(states[:, num_queries:]))
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1), answered


@final
class Attention(nn.Module):
    """Attention as in BERT: several heads, added to the rows, the norm last."""

    def __init__(self, settings: BodySettings, *, d_source: int) -> None:
        """Builds the projections of rows, and of what they attend to."""
        super().__init__()
        width = settings.d_hidden
        self.num_heads = settings.num_heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(d_source, width)
        self.value = nn.Linear(d_source, width)
        self.output = nn.Linear(width, width)
        self.dropout = nn.Dropout(settings.dropout)
        self.norm = nn.LayerNorm(width, eps=settings.norm_eps)

    def read(self, source: Float[Tensor, "batch _ _"]) -> KeysValues:
        """Returns the keys and values of what is attended to."""
        return self._heads(self.key(source)), self._heads(self.value(source))

    def forward(
        self,
        states: Float[Tensor, "batch seq d_hidden"],
        seen: KeysValues,
        mask: Bool[Tensor, "#batch 1 #seq _"] | None,
    ) -> Float[Tensor, "batch seq d_hidden"]:
        """Returns the rows with what they found."""
        found = scaled_dot_product_attention(
            self._heads(self.query(states)),
            *seen,
            attn_mask=mask,
            dropout_p=self.dropout.p if self.training else 0.0,
        )
        found = rearrange(found, "batch heads seq d -> batch seq (heads d)")
        return self.norm(states + self.dropout(self.output(found)))

    def _heads(self, states: Tensor) -> Tensor:
        return rearrange(states, "batch seq (heads d) -> batch heads seq d", heads=self.num_heads)


@final
class FeedForward(nn.Module):
    """Two linear maps with a GELU between them, added to the rows, the norm last."""

    def __init__(self, settings: BodySettings) -> None:
        """Builds both maps."""
        super().__init__()
        self.inner = nn.Linear(settings.d_hidden, settings.d_ffn)
        self.output = nn.Linear(settings.d_ffn, settings.d_hidden)
        self.dropout = nn.Dropout(settings.dropout)
        self.norm = nn.LayerNorm(settings.d_hidden, eps=settings.norm_eps)

    def forward(
        self, states: Float[Tensor, "batch seq d_hidden"]
    ) -> Float[Tensor, "batch seq d_hidden"]:
        """Returns the rows with what was made of each."""
        return self.norm(states + self.dropout(self.output(gelu(self.inner(states)))))


def _joined(past: KeysValues, now: KeysValues) -> KeysValues:
    keys, values = (torch.cat(pair, dim=2) for pair in zip(past, now, strict=True))
    return keys, values
