"""The text side of a Q-Former: words become rows, and rows become words."""

from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import gelu, linear

from isthmus.config import Config

PADDING_ID = 0
"""BERT's padding; its embedding takes no gradient."""


@final
@dataclass(frozen=True, kw_only=True)
class TextSide(Config):
    """Vocabulary and reach of the text side."""

    vocab_size: int = 30523
    """Entries of the vocabulary: BERT's 30522, and one that begins a caption."""
    num_positions: int = 512
    """Longest text."""

    def __post_init__(self) -> None:
        """Checks that there is a vocabulary and a position.

        Raises:
            ValueError: a count is below one.
        """
        for name in ("vocab_size", "num_positions"):
            if (value := getattr(self, name)) < 1:
                raise ValueError(f"qformer.text.{name} is {value}; expected 1 or more")


@final
class TextEmbeddings(nn.Module):
    """Word and position embeddings; the body norms them together with the queries.

    Shape: (batch, seq) -> (batch, seq, d_hidden).
    """

    def __init__(self, settings: TextSide, d_hidden: int) -> None:
        """Builds both tables."""
        super().__init__()
        self.words = nn.Embedding(settings.vocab_size, d_hidden, padding_idx=PADDING_ID)
        self.positions = nn.Embedding(settings.num_positions, d_hidden)

    def forward(
        self, input_ids: Int[Tensor, "batch seq"], *, first: int = 0
    ) -> Float[Tensor, "batch seq d_hidden"]:
        """Returns the rows of texts.

        Args:
            input_ids: token ids.
            first: position of the first of them.

        Raises:
            ValueError: a text is longer than there are positions.
        """
        length, longest = first + input_ids.shape[1], self.positions.num_embeddings
        if length > longest:
            raise ValueError(
                f"a text of {length} tokens does not fit the {longest} positions of the Q-Former; "
                "shorten it, or raise qformer.text.num_positions"
            )
        return self.words(input_ids) + self.positions.weight[first:length]


@final
class LanguageHead(nn.Module):
    """Words from rows, as BERT predicts them; the word embeddings are its last map.

    Shape: (*rows, d_hidden) -> (*rows, vocab).
    """

    def __init__(self, vocab_size: int, d_hidden: int, *, norm_eps: float) -> None:
        """Builds the map before the word embeddings, and the bias behind them."""
        super().__init__()
        self.transform = nn.Linear(d_hidden, d_hidden)
        self.norm = nn.LayerNorm(d_hidden, eps=norm_eps)
        self.bias = nn.Parameter(torch.zeros(vocab_size))

    def reset_parameters(self) -> None:
        """Sets the bias to zero."""
        nn.init.zeros_(self.bias)

    def forward(
        self,
        states: Float[Tensor, "*rows d_hidden"],
        words: Float[Tensor, "vocab d_hidden"],
    ) -> Float[Tensor, "*rows vocab"]:
        """Returns the logits of each row.

        Args:
            states: rows of text behind the last layer.
            words: weight of the word embeddings.
        """
        return linear(self.norm(gelu(self.transform(states))), words, self.bias)
