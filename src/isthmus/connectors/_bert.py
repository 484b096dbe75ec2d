"""A Q-Former that starts as a BERT."""

from collections.abc import Iterable
from itertools import product
from typing import Any

import torch
from transformers import AutoModel, BertConfig, BertModel
from transformers.utils import logging

from isthmus.connectors.qformer import QFormer
from isthmus.pretrained import read_config

ATTENTION = (
    ("self_attention.query", "attention.self.query"),
    ("self_attention.key", "attention.self.key"),
    ("self_attention.value", "attention.self.value"),
    ("self_attention.output", "attention.output.dense"),
    ("self_attention.norm", "attention.output.LayerNorm"),
)
"""Names in a layer of ours, and in one of a BERT."""
FEED_FORWARD = (
    ("inner", "intermediate.dense"),
    ("output", "output.dense"),
    ("norm", "output.LayerNorm"),
)
"""Names in a feed-forward part of ours, and in a layer of a BERT."""


def init_from_bert(connector: QFormer, folder: str) -> None:
    """Fills the body and the text side of a Q-Former with the weights of a BERT.

    Both feed-forward parts of a layer start as BERT's one. Queries, cross-attention, the norm of
    the patches and the projection have no counterpart there and stay as they are, and so do the
    words that our vocabulary has beyond BERT's.

    Paper: BLIP-2, arXiv 2301.12597, section 3.1.
    Differs: BERT's token types have no counterpart either, as in the published code.

    Args:
        connector: the Q-Former, changed in place.
        folder: local folder or hub id of a BERT.

    Raises:
        ValueError: it is no BERT, one of other sizes, or one that lacks weights.
    """
    bert = _load(folder, connector.config)
    with torch.no_grad():
        for ours, theirs in _pairs(connector):
            given = bert.get_submodule(theirs)
            for name, own in connector.get_submodule(ours).named_parameters():
                value = given.get_parameter(name)
                # Tables may differ in their length.
                rows = min(len(own), len(value))
                own[:rows].copy_(value[:rows])


def _load(folder: str, ours: QFormer.Config) -> BertModel:
    config = read_config(folder)
    if not isinstance(config, BertConfig):
        raise ValueError(f"{folder!r} holds a {config.model_type!r} model; expected a BERT")
    _check(ours, config, folder)
    # The heads that most BERTs are saved with would be reported as unexpected; that is no news.
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        bert, report = AutoModel.from_pretrained(
            folder,
            config=config,
            dtype=torch.float32,
            add_pooling_layer=False,
            output_loading_info=True,
        )
    finally:
        logging.set_verbosity(verbosity)
    if missing := sorted(report["missing_keys"]):
        raise ValueError(f"{folder!r} lacks weights of its BERT, such as {missing[0]!r}")
    return bert


def check_body(ours: QFormer.Config, theirs: Any, source: str) -> None:
    """Checks that the layers of a Q-Former are those of a published model, in number and size.

    Args:
        ours: of the Q-Former.
        theirs: configuration of a BERT, or of what has its names.
        source: what an error calls that one.

    Raises:
        ValueError: they are not.
    """
    if theirs.hidden_act != "gelu":
        raise ValueError(f"{source} has {theirs.hidden_act!r}; expected 'gelu'")
    body = ours.body(d_vision=1)
    sizes = {
        "depth": (body.depth, theirs.num_hidden_layers),
        "d_hidden": (body.d_hidden, theirs.hidden_size),
        "num_heads": (body.num_heads, theirs.num_attention_heads),
        "d_ffn": (body.d_ffn, theirs.intermediate_size),
    }
    # A BERT has none of these layers.
    if (every := getattr(theirs, "cross_attention_frequency", None)) is not None:
        sizes["cross_attention_every"] = (body.cross_attention_every, every)
    for name, (own, value) in sizes.items():
        if own != value:
            raise ValueError(f"qformer.{name} is {own}; expected {value}, as {source}")


def _check(ours: QFormer.Config, theirs: BertConfig, folder: str) -> None:
    check_body(ours, theirs, f"the BERT in {folder!r}")
    if (text := ours.text) is None:
        return
    if text.vocab_size < theirs.vocab_size or text.num_positions > theirs.max_position_embeddings:
        raise ValueError(
            f"qformer.text has {text.vocab_size} words and {text.num_positions} positions; "
            f"expected at least {theirs.vocab_size} words and at most "
            f"{theirs.max_position_embeddings} positions, as the BERT in {folder!r}"
        )


def _pairs(connector: QFormer) -> Iterable[tuple[str, str]]:
    """Returns the names of a Q-Former's modules, each with that of its counterpart in a BERT."""
    yield "body.norm", "embeddings.LayerNorm"
    if connector.text is not None:
        yield "text.words", "embeddings.word_embeddings"
        yield "text.positions", "embeddings.position_embeddings"
    feed_forwards = ("query_ffn", "text_ffn") if connector.body.has_text else ("query_ffn",)
    for index in range(connector.config.depth):
        for ours, theirs in ATTENTION:
            yield f"body.layers.{index}.{ours}", f"encoder.layer.{index}.{theirs}"
        for name, (ours, theirs) in product(feed_forwards, FEED_FORWARD):
            yield f"body.layers.{index}.{name}.{ours}", f"encoder.layer.{index}.{theirs}"
