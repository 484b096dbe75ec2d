"""Next-token loss over the supervised rows only, some rows at a time.

Logits are the largest tensors of a training step (rows times vocabulary), and most rows of a
vision-language batch are image or prompt and have no target. So hidden states are picked first,
and each chunk's logits are recomputed in the backward pass instead of kept.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.utils.checkpoint import checkpoint

from isthmus.axes import IGNORED_LABEL

CHUNK_ROWS = 2048
"""Rows whose logits exist at once: 1 GiB in float32 with a vocabulary of 128k."""


class NextToken(NamedTuple):
    """How well the supervised tokens of a batch were told."""

    loss: Float[Tensor, ""]
    """Mean cross-entropy; 0, with a gradient of 0, when no token is supervised."""
    accuracy: Float[Tensor, ""]
    """Share of the tokens that had the largest logit."""


def next_token_loss(
    hidden: Float[Tensor, "batch seq d_hidden"],
    labels: Int[Tensor, "batch seq"],
    logits_of: Callable[[Tensor], Tensor],
    *,
    num_items: int | Tensor | None = None,
    label_smoothing: float = 0.0,
    shifted: bool = False,
    chunk_rows: int = CHUNK_ROWS,
) -> NextToken:
    """Returns the mean cross-entropy of each supervised token, given the tokens before it.

    Args:
        hidden: last hidden states.
        labels: token ids; `IGNORED_LABEL` where there is no target.
        logits_of: head of the language model, from rows of hidden states to rows of logits.
        num_items: what to divide the sums by, such as the supervised tokens of all accumulated
            batches; by default the supervised tokens of this one.
        label_smoothing: share of the target spread evenly over the vocabulary.
        shifted: whether a label stands where it is told, as behind a decoder, and not where it is
            read.
        chunk_rows: rows whose logits exist at once.
    """
    targets, telling = (labels, hidden) if shifted else (labels[:, 1:], hidden[:, :-1])
    targets = targets.to(hidden.device)
    supervised = targets != IGNORED_LABEL
    rows, wanted = telling[supervised], targets[supervised]
    total = rows.sum(dtype=torch.float32) * 0
    right = torch.zeros_like(total)

    def chunk_sums(chunk: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        logits = logits_of(chunk).float()
        hits = (logits.argmax(-1) == target).sum()
        loss = cross_entropy(logits, target, reduction="sum", label_smoothing=label_smoothing)
        return loss, hits

    recomputes = len(rows) > chunk_rows and torch.is_grad_enabled()
    for chunk, target in zip(rows.split(chunk_rows), wanted.split(chunk_rows), strict=True):
        if len(chunk) == 0:  # a split of nothing is one empty chunk
            break
        if recomputes:
            loss, hits = checkpoint(chunk_sums, chunk, target, use_reentrant=False)
        else:
            loss, hits = chunk_sums(chunk, target)
        total, right = total + loss, right + hits
    items = max(len(rows), 1) if num_items is None else num_items
    return NextToken(total / items, right / items)
