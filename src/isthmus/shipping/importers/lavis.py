"""LAVIS (salesforce/LAVIS): its Q-Former, of either stage of BLIP-2.

Paper: BLIP-2, arXiv 2301.12597.
"""

from collections.abc import Mapping
from typing import Any, Literal

from torch import Tensor

from isthmus.connectors._qformer_names import layers
from isthmus.connectors.qformer import QFormer
from isthmus.keys import KeyMap
from isthmus.shipping.importers import _qformer

PATCH_NORM_EPS = 1e-5
"""Epsilon of `ln_vision`, which is in no configuration."""
HEAD_WIDTH = 64
"""Width of an attention head of the Q-Former, which is in no file."""
NORM_EPS = 1e-12
"""Epsilon of its norms, which is in none either."""
PROJECTIONS = {"opt_proj": "opt", "t5_proj": "t5", "llm_proj": "llama"}
"""What the second stage calls its projection -> the family of language models behind it."""

Projection = Literal["opt_proj", "t5_proj", "llm_proj"]

_EMBEDDINGS = "Qformer.bert.embeddings"
_HEAD = "Qformer.cls.predictions"

_QFORMER = (
    ("query_tokens", "queries"),
    ("ln_vision.*", "patch_norm.*"),
    (f"{_EMBEDDINGS}.word_embeddings.*", "text.words.*"),
    (f"{_EMBEDDINGS}.position_embeddings.*", "text.positions.*"),
    (f"{_EMBEDDINGS}.LayerNorm.*", "body.norm.*"),
    *layers("Qformer.bert.encoder.layer.*", "self"),
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


def second_stage(projection: Projection) -> KeyMap:
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


def settings(weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """Returns the `bert_config` that weights tell; what they do not is as `init_Qformer` has it.

    Raises:
        ValueError: the weights are of no Q-Former; the one that tells is named.
    """
    layer = "Qformer.bert.encoder.layer"
    needed = ("query_tokens", f"{layer}.0.intermediate_query.dense.weight")
    if missing := [name for name in needed if name not in weights]:
        raise ValueError(f"the weights lack {missing[0]!r}; expected a Q-Former of LAVIS's BLIP-2")
    _, num_queries, width = weights["query_tokens"].shape
    if width % HEAD_WIDTH:
        raise ValueError(
            f"query_tokens is {width} wide; expected a multiple of {HEAD_WIDTH}, the width of a "
            "head of the Q-Former"
        )
    words = weights.get(f"{_EMBEDDINGS}.word_embeddings.weight")
    positions = weights.get(f"{_EMBEDDINGS}.position_embeddings.weight")
    crossing = sorted(
        {int(name.split(".")[4]) for name in weights if ".crossattention.self.key.w" in name}
    )
    depth = 1 + max(int(name.split(".")[4]) for name in weights if name.startswith(f"{layer}."))
    every = crossing[1] if len(crossing) > 1 else depth
    if crossing != list(range(0, depth, every)):
        raise ValueError(
            f"the Q-Former reads the patches in its layers {crossing} of {depth}; expected the "
            "first of every few"
        )
    return {
        "query_length": num_queries,
        "hidden_size": width,
        "num_hidden_layers": depth,
        "num_attention_heads": width // HEAD_WIDTH,
        "intermediate_size": len(weights[needed[1]]),
        "cross_attention_freq": every,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "attention_probs_dropout_prob": 0.1,
        "layer_norm_eps": NORM_EPS,
        "vocab_size": 1 if words is None else len(words),
        "max_position_embeddings": 1 if positions is None else len(positions),
    }
