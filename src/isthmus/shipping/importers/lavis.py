"""LAVIS (salesforce/LAVIS): its Q-Former, of either stage of BLIP-2.

Paper: BLIP-2, arXiv 2301.12597.
"""

from collections.abc import Mapping
from typing import Any, Literal

from isthmus.connectors.qformer import QFormer
from isthmus.shipping.importers import _qformer
from isthmus.shipping.importers._keys import KeyMap

PATCH_NORM_EPS = 1e-5
"""Epsilon of `ln_vision`, which is in no configuration."""

_EMBEDDINGS = "Qformer.bert.embeddings"
_HEAD = "Qformer.cls.predictions"

QFORMER = KeyMap(
    (
        ("query_tokens", "queries"),
        ("ln_vision.*", "patch_norm.*"),
        (f"{_EMBEDDINGS}.word_embeddings.*", "text.words.*"),
        (f"{_EMBEDDINGS}.position_embeddings.*", "text.positions.*"),
        (f"{_EMBEDDINGS}.LayerNorm.*", "body.norm.*"),
        *_qformer.layers("Qformer.bert.encoder.layer.*", "self"),
        # The language head of the first stage; its last map is the word embeddings.
        (f"{_HEAD}.transform.dense.*", "head.transform.*"),
        (f"{_HEAD}.transform.LayerNorm.*", "head.norm.*"),
        (f"{_HEAD}.bias", "head.bias"),
    ),
    ignored=(f"{_EMBEDDINGS}.position_ids", f"{_HEAD}.decoder.*"),
)
"""Of the first stage, which has no projection to a language model."""


def second_stage(projection: Literal["opt_proj", "t5_proj", "llm_proj"]) -> KeyMap:
    """Returns the names of a Q-Former with its projection, which is called by language model."""
    return KeyMap((*QFORMER.pairs, (f"{projection}.*", "projection.*")), QFORMER.ignored)


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
