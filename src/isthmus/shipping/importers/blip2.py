"""BLIP-2, as transformers has it: its Q-Former.

Paper: arXiv 2301.12597.
"""

from collections.abc import Mapping
from typing import Any

from isthmus.connectors.qformer import QFormer
from isthmus.modeling.keys import KeyMap
from isthmus.shipping.importers import _qformer

QFORMER = KeyMap((("layernorm.*", "body.norm.*"), *_qformer.layers("encoder.layer.*", "attention")))
"""Of a `Blip2QFormerModel`, which has neither queries nor embeddings of its own."""

CONNECTOR = KeyMap(
    (
        ("query_tokens", "queries"),
        ("embeddings.word_embeddings.*", "text.words.*"),
        ("embeddings.position_embeddings.*", "text.positions.*"),
        ("language_projection.*", "projection.*"),
        *((f"qformer.{theirs}", ours) for theirs, ours in QFORMER.pairs),
    )
)
"""Of a whole BLIP-2, all that lies between the tower and the language model."""


def connector(qformer_config: Mapping[str, Any], *, num_queries: int) -> QFormer.Config:
    """Returns the connector of a `qformer_config`.

    Raises:
        ValueError: a setting is not known here.
    """
    return _qformer.of_transformers(
        qformer_config, num_queries=num_queries, has_text=qformer_config["use_qformer_text_input"]
    )
