"""Encoded conversations to a batch."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from isthmus.axes import IGNORED_LABEL, Batch
from isthmus.data.conversation import EncodedConversation


def collate(
    conversations: Sequence[EncodedConversation],
    *,
    pad_token_id: int,
    ids: tuple[str, ...] = (),
    pixel_values: UInt8[Tensor, "images 3 height width"] | None = None,
    patch_features: Float[Tensor, "images patches d_vision"] | None = None,
) -> Batch:
    """Returns conversations as one batch, padded on the right to the longest of them.

    Args:
        conversations: one per sample.
        pad_token_id: id written at padding, where no attention and no loss reach it.
        ids: names of the samples.
        pixel_values: images of all samples in reading order.
        patch_features: what the tower saw of them, instead.
    """
    # Kept as int32 in memory, but token ids are int64 to embeddings and losses.
    input_ids = [conversation.input_ids.long() for conversation in conversations]
    labels = [conversation.labels.long() for conversation in conversations]
    mask = [torch.ones_like(row) for row in input_ids]
    return Batch(
        input_ids=pad_sequence(input_ids, batch_first=True, padding_value=pad_token_id),
        attention_mask=pad_sequence(mask, batch_first=True),
        labels=pad_sequence(labels, batch_first=True, padding_value=IGNORED_LABEL),
        pixel_values=pixel_values,
        patch_features=patch_features,
        ids=ids,
    )
