"""What a Q-Former with a text side can do with pictures and texts, one pass per method.

Queries and texts share the layers; what differs between the passes is who sees whom:

=========== ======================= =========================
pass        a query sees            a word sees
=========== ======================= =========================
`queries`   queries, patches        (no words)
`texts`     (no queries)            its text
`captions`  (as they were)          queries, the words before
`pairs`     queries, patches, text  queries, text
=========== ======================= =========================
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import pad

from isthmus.axes import Patches
from isthmus.connectors._qformer import KeysValues
from isthmus.connectors._qformer_text import TextEmbeddings
from isthmus.connectors.qformer import QFormer


@final
@dataclass(frozen=True, kw_only=True)
class SeenImages:
    """What images answer in each layer that asks them, projected once however often it is read."""

    keys_values: tuple[KeysValues | None, ...]
    """Keys and values of the patches by layer; None where a layer does not ask."""
    mask: Bool[Tensor, "images seen"] | None = None
    """False at padding; None where there is none."""

    def __len__(self) -> int:
        """Returns the number of images."""
        return next(len(each[0]) for each in self.keys_values if each is not None)

    def __getitem__(self, images: Int[Tensor, " _"]) -> "SeenImages":
        """Returns some of the images, in this order, each as often as it is named."""
        return SeenImages(
            keys_values=tuple(
                None if each is None else (each[0][images], each[1][images])
                for each in self.keys_values
            ),
            mask=None if self.mask is None else self.mask[images],
        )

    def repeated(self, times: int) -> "SeenImages":
        """Returns the one image so many times, without copying what it answers."""
        return SeenImages(
            keys_values=tuple(
                None if each is None else (_spread(each[0], times), _spread(each[1], times))
                for each in self.keys_values
            ),
            mask=None if self.mask is None else _spread(self.mask, times),
        )

    @classmethod
    def joined(cls, parts: Sequence["SeenImages"]) -> "SeenImages":
        """Returns the images of all parts, whose grids are alike."""
        masks = [part.mask for part in parts if part.mask is not None]
        return cls(
            keys_values=tuple(map(_joined, *(part.keys_values for part in parts))),
            mask=torch.cat(masks) if masks else None,
        )


@final
@dataclass(frozen=True, kw_only=True)
class Texts:
    """Token ids of texts, padded on the right."""

    input_ids: Int[Tensor, "batch seq"]
    attention_mask: Int[Tensor, "batch seq"]
    """1 at words, 0 at padding."""

    @property
    def mask(self) -> Bool[Tensor, "batch seq"]:
        """True at words."""
        return self.attention_mask.bool()

    def __len__(self) -> int:
        """Returns the number of texts."""
        return len(self.input_ids)

    def __getitem__(self, texts: Int[Tensor, " _"]) -> "Texts":
        """Returns some of the texts, in this order, each as often as it is named."""
        return Texts(input_ids=self.input_ids[texts], attention_mask=self.attention_mask[texts])

    @classmethod
    def joined(cls, parts: Sequence["Texts"]) -> "Texts":
        """Returns the texts of all parts, padded to the longest."""
        length = max(part.input_ids.shape[1] for part in parts)
        return cls(
            input_ids=torch.cat([padded(part.input_ids, length) for part in parts]),
            attention_mask=torch.cat([padded(part.attention_mask, length) for part in parts]),
        )

    def begun_by(self, token_id: int) -> "Texts":
        """Returns the texts with another first token."""
        ids = self.input_ids.clone()
        ids[:, 0] = token_id
        return Texts(input_ids=ids, attention_mask=self.attention_mask)


def see(qformer: QFormer, patches: Patches) -> SeenImages:
    """Returns what images answer to the queries."""
    return SeenImages(keys_values=tuple(qformer.answers(patches)), mask=patches.state_mask)


def queries(
    qformer: QFormer, seen: SeenImages
) -> tuple[Float[Tensor, "images queries d_hidden"], list[KeysValues]]:
    """Returns the queries of each image, and what they answered to each other in each layer."""
    states = qformer.fresh_queries(len(seen))
    return qformer.body(
        states, num_queries=states.shape[1], image=seen.keys_values, patch_mask=seen.mask
    )


def texts(qformer: QFormer, given: Texts) -> Float[Tensor, "batch seq d_hidden"]:
    """Returns the words of each text, which saw nothing else."""
    states, _ = qformer.body(
        words_of(qformer)(given.input_ids), num_queries=0, mask=given.mask[:, None]
    )
    return states


def captions(
    qformer: QFormer, past: list[KeysValues], given: Texts
) -> Float[Tensor, "batch seq d_hidden"]:
    """Returns the words of captions, each of which saw the queries and the words before it.

    Args:
        qformer: with a text side.
        past: what the queries of each caption's image answered, see `queries`.
        given: captions, from their first word on.
    """
    seen = past[0][0].shape[2]
    causal = given.mask[:, None] & _causal(given.input_ids)
    mask = torch.cat([causal.new_ones(*causal.shape[:2], seen), causal], dim=2)
    states, _ = qformer.body(
        words_of(qformer)(given.input_ids), num_queries=0, mask=mask, past=past
    )
    return states


def pairs(
    qformer: QFormer, seen: SeenImages, given: Texts, *, whole: bool = False
) -> Float[Tensor, "batch queries d_hidden"]:
    """Returns the queries of pairs of an image and a text, which saw both.

    Args:
        qformer: with a text side.
        seen: the image of each pair.
        given: the text of each pair.
        whole: run the words through the last layer, too, as the published code does for nothing.
    """
    start = qformer.fresh_queries(len(given))
    num_queries = start.shape[1]
    mask = torch.cat([given.mask.new_ones(start.shape[:2]), given.mask], dim=1)
    states, _ = qformer.body(
        torch.cat([start, words_of(qformer)(given.input_ids)], dim=1),
        num_queries=num_queries,
        mask=mask[:, None],
        image=seen.keys_values,
        patch_mask=seen.mask,
        keeps_text=whole,
    )
    return states[:, :num_queries]


def packed(
    qformer: QFormer, seen: SeenImages, compared: Texts, written: Texts | None
) -> tuple[
    Float[Tensor, "batch queries d_hidden"],
    Float[Tensor, "batch seq d_hidden"],
    Float[Tensor, "batch seq d_hidden"] | None,
]:
    """Returns what `queries`, `texts` and `captions` do, of one pass for all three.

    One sequence holds the queries of an image, its text to be compared and its text to be written;
    the mask keeps apart what three passes would.
    """
    embeds, num_queries = words_of(qformer), len(qformer.queries)
    rows = [qformer.fresh_queries(len(seen)), embeds(compared.input_ids)]
    if written is not None:
        rows.append(embeds(written.input_ids))
    starts = [0, *accumulate(part.shape[1] for part in rows)]
    first, second = slice(*starts[1:3]), slice(*starts[2:4])
    mask = compared.mask.new_zeros(len(seen), starts[-1], starts[-1])
    mask[:, :num_queries, :num_queries] = True
    mask[:, first, first] = compared.mask[:, None]
    if written is not None:
        mask[:, second, :num_queries] = True
        mask[:, second, second] = written.mask[:, None] & _causal(written.input_ids)
    states, _ = qformer.body(
        torch.cat(rows, dim=1),
        num_queries=num_queries,
        mask=mask,
        image=seen.keys_values,
        patch_mask=seen.mask,
    )
    captions = None if written is None else states[:, second]
    return states[:, :num_queries], states[:, first], captions


def padded(values: Int[Tensor, "batch seq"], length: int) -> Int[Tensor, "batch longer"]:
    """Returns rows of numbers with zeros behind them."""
    return pad(values, (0, length - values.shape[1]))


def words_of(qformer: QFormer) -> TextEmbeddings:
    """Returns the embeddings of the text side."""
    assert qformer.text is not None  # the configuration sees to it
    return qformer.text


def _causal(input_ids: Int[Tensor, "batch seq"]) -> Bool[Tensor, "seq seq"]:
    """Returns who sees whom among words that are written one after the other."""
    length = input_ids.shape[1]
    return input_ids.new_ones(length, length).bool().tril()


def _joined(*answers: Any) -> Any:
    """Returns what several images answer in one layer."""
    given = [each for each in answers if each is not None]
    if not given:
        return None
    keys, values = zip(*given, strict=True)
    return torch.cat(keys), torch.cat(values)


def _spread(values: Tensor, times: int) -> Tensor:
    return values.expand(times, *values.shape[1:])
