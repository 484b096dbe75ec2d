"""LAVIS (salesforce/LAVIS): its Q-Former, of either stage of BLIP-2.

Paper: BLIP-2, arXiv 2301.12597.
"""

from collections.abc import Mapping
from typing import Any, Literal

from isthmus.connectors.qformer import QFormer
from isthmus.modeling.keys import KeyMap
from isthmus.shipping.importers import _qformer

PATCH_NORM_EPS = 1e-5
"""Epsilon of `ln_vision`, which is in no configuration."""

_EMBEDDINGS = "Qformer.bert.embeddings"
_HEAD = "Qformer.cls.predictions"

_QFORMER = (
    ("query_tokens", "queries"),
    ("ln_vision.*", "patch_norm.*"),
    (f"{_EMBEDDINGS}.word_embeddings.*", "text.words.*"),
    (f"{_EMBEDDINGS}.position_embeddings.*", "text.positions.*"),
    (f"{_EMBEDDINGS}.LayerNorm.*", "body.norm.*"),
    *_qformer.layers("Qformer.bert.encoder.layer.*", "self"),
)
_HEAD_PARTS = (
    (f"{_HEAD}.transform.dense.*", "transform.*"),
    (f"{_HEAD}.transform.LayerNorm.*", "norm.*"),
    (f"{_HEAD}.bias", "bias"),
)
"""Of the language head, whose last map is the word embeddings."""
_IGNORED = (f"{_EMBEDDINGS}.position_ids", f"{_HEAD}.decoder.*")

QFORMER = KeyMap((*_QFORMER, *((theirs, f"head.{ours}") for theirs, ours in _HEAD_PARTS)), _IGNORED)
"""The Q-Former alone, and its language head."""

FIRST_STAGE = KeyMap(
    (
        *((theirs, f"qformer.{ours}") for theirs, ours in _QFORMER),
        *((theirs, f"lm_head.{ours}") for theirs, ours in _HEAD_PARTS),
        ("vision_proj.*", "vision_projection.*"),
        ("text_proj.*", "text_projection.*"),
        ("itm_head.*", "itm_head.*"),
        ("temp", "temperature"),
    ),
    _IGNORED,
)
"""Of `Blip2Qformer`, beside its vision tower, and of `IsthmusForAlignment`."""


def second_stage(projection: Literal["opt_proj", "t5_proj", "llm_proj"]) -> KeyMap:
    """Returns the names of a Q-Former with its projection, which is called by language model."""
    return KeyMap((*_QFORMER, (f"{projection}.*", "projection.*")), _IGNORED)


def connector(bert_config: Mapping[str, Any], *, has_text: bool) -> QFormer.Config:
    """Returns the connector of a `bert_config` as `init_Qformer` completes it.

    Args:
        bert_config: settings of the BERT, the query's among them.
        has_text: whether the text side is there, as in the first stage and in InstructBLIP.

    Raises:
        ValueError: a setting is not known here.
    """
    return _qformer.connector(
        bert_config,
        num_queries=bert_config["query_length"],
        cross_attention_every=bert_config["cross_attention_freq"],
        patch_norm_eps=PATCH_NORM_EPS,
        has_text=has_text,
    )
