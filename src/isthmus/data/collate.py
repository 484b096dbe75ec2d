"""Encoded conversations to a batch."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor
from torch.nn.functional import pad

from isthmus.axes import IGNORED_LABEL, Batch
from isthmus.data.conversation import EncodedConversation

LENGTH_STEP = 32
"""Batches are as long as a multiple of this. For each new shape the kernels prepare themselves, and
keep what they prepared: with every length its own, a run's memory grew threefold."""
ANSWER_STEP = 8
"""The same for the answers that a decoder writes, most of which are shorter than that."""


def collate(
    rows: Sequence[Sequence[EncodedConversation]],
    *,
    pad_token_id: int,
    max_length: int | None = None,
    decoded: bool = False,
    ids: tuple[str, ...] = (),
    pixel_values: UInt8[Tensor, "images 3 height width"] | None = None,
    view_index: Int[Tensor, " views"] | None = None,
    patch_features: Float[Tensor, "images seen d_vision"] | None = None,
    qformer_input_ids: Int[Tensor, "images asked"] | None = None,
    qformer_attention_mask: Int[Tensor, "images asked"] | None = None,
) -> Batch:
    """Returns conversations as one batch, padded on the right to the longest row and a little.

    Args:
        rows: the samples of each row, of which none sees another.
        pad_token_id: id written at padding, where no attention and no loss reach it.
        max_length: positions that the language model has; no padding goes beyond.
        decoded: whether the labels are what a decoder writes, and as long as they are.
        ids: names of the samples.
        pixel_values: images of all samples in reading order.
        view_index: which of them is shown at each place, where one is shown at several.
        patch_features: what the tower saw of them, instead.
        qformer_input_ids: what is asked about each image.
        qformer_attention_mask: 1 at its words.
    """

    def padded(
        values: Sequence[Tensor], value: int, step: int = LENGTH_STEP
    ) -> Int[Tensor, "batch seq"]:
        longest = max(map(len, values))
        rounded = math.ceil(longest / step) * step
        length = max(longest, rounded if max_length is None else min(rounded, max_length))
        # Kept as int32 in memory, but token ids are int64 to embeddings and losses.
        return torch.stack([pad(row.long(), (0, length - len(row)), value=value) for row in values])

    packed = any(len(row) > 1 for row in rows)
    whole = [joined(row) if packed else (row[0], None) for row in rows]
    input_ids = [conversation.input_ids for conversation, _ in whole]
    labels = [conversation.labels for conversation, _ in whole]
    segments = [numbers for _, numbers in whole if numbers is not None]
    return Batch(
        input_ids=padded(input_ids, pad_token_id),
        attention_mask=padded([torch.ones_like(row) for row in input_ids], 0),
        # What pads a row belongs to its first sample: a position that sees nothing is no number.
        segments=padded(segments, 0) if packed else None,
        labels=padded(labels, IGNORED_LABEL, ANSWER_STEP if decoded else LENGTH_STEP),
        decoded=decoded,
        pixel_values=pixel_values,
        view_index=view_index,
        patch_features=patch_features,
        qformer_input_ids=qformer_input_ids,
        qformer_attention_mask=qformer_attention_mask,
        ids=ids,
    )


def joined(conversations: Sequence[EncodedConversation]) -> tuple[EncodedConversation, Tensor]:
    """Returns conversations one after the other as one, and which of them each token belongs to.

    The first token of each is no label: what stands before it is another conversation.

    Shape: the second is (seq,).
    """
    labels = [conversation.labels.clone() for conversation in conversations]
    for each in labels:
        each[0] = IGNORED_LABEL
    lengths = torch.tensor([len(conversation.input_ids) for conversation in conversations])
    segments: Int[Tensor, " seq"] = torch.arange(len(lengths)).repeat_interleave(lengths)
    whole = EncodedConversation(
        torch.cat([conversation.input_ids for conversation in conversations]), torch.cat(labels)
    )
    return whole, segments
