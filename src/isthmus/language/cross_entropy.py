"""Next-token loss over the supervised rows only, some rows at a time.

Logits are the largest tensors of a training step (rows times vocabulary), and most rows of a
vision-language batch are image or prompt and have no target. So hidden states are picked first,
and each chunk's logits are recomputed in the backward pass instead of kept.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.utils.checkpoint import checkpoint

from isthmus.axes import IGNORED_LABEL

CHUNK_ROWS = 2048
"""Rows whose logits exist at once: 1 GiB in float32 with a vocabulary of 128k."""


def next_token_loss(
    hidden: Float[Tensor, "batch seq d_hidden"],
    labels: Int[Tensor, "batch seq"],
    logits_of: Callable[[Tensor], Tensor],
    *,
    num_items: int | Tensor | None = None,
    chunk_rows: int = CHUNK_ROWS,
) -> Float[Tensor, ""]:
    """Returns the mean cross-entropy of each supervised token, given the tokens before it.

    Args:
        hidden: last hidden states.
        labels: token ids, not shifted; `IGNORED_LABEL` where there is no target.
        logits_of: head of the language model, from rows of hidden states to rows of logits.
        num_items: what to divide the sum by, such as the supervised tokens of all accumulated
            batches; by default the supervised tokens of this one.
        chunk_rows: rows whose logits exist at once.

    Returns:
        The loss; 0, with a gradient of 0, when no token is supervised.
    """
    targets = labels[:, 1:].to(hidden.device)
    supervised = targets != IGNORED_LABEL
    rows, wanted = hidden[:, :-1][supervised], targets[supervised]
    total = rows.sum(dtype=torch.float32) * 0

    def chunk_loss(chunk: Tensor, target: Tensor) -> Tensor:
        return cross_entropy(logits_of(chunk).float(), target, reduction="sum")

    for chunk, target in zip(rows.split(chunk_rows), wanted.split(chunk_rows), strict=True):
        if len(rows) > chunk_rows and torch.is_grad_enabled():
            total = total + checkpoint(chunk_loss, chunk, target, use_reentrant=False)
        elif len(chunk) > 0:
            total = total + chunk_loss(chunk, target)
    return total / (max(len(rows), 1) if num_items is None else num_items)
