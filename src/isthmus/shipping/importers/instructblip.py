"""InstructBLIP, as transformers has it: its Q-Former, which reads the instruction.

Paper: arXiv 2305.06500.
"""

from collections.abc import Mapping
from typing import Any

from transformers import (
    InstructBlipConfig,
    InstructBlipForConditionalGeneration,
    InstructBlipProcessor,
)

from isthmus.connectors._qformer_names import layers
from isthmus.connectors.qformer import QFormer
from isthmus.keys import KeyMap
from isthmus.shipping.importers import _qformer
from isthmus.shipping.importers._whole import Whole

QFORMER = KeyMap(
    (
        ("embeddings.word_embeddings.*", "text.words.*"),
        ("embeddings.position_embeddings.*", "text.positions.*"),
        ("embeddings.layernorm.*", "body.norm.*"),
        *layers("encoder.layer.*", "attention"),
    )
)
"""Of an `InstructBlipQFormerModel`, which has no queries of its own."""

CONNECTOR = KeyMap(
    (
        ("query_tokens", "queries"),
        ("language_projection.*", "projection.*"),
        *((f"qformer.{theirs}", ours) for theirs, ours in QFORMER.pairs),
    )
)
"""Of a whole InstructBLIP, all that lies between the tower and the language model."""


def connector(qformer_config: Mapping[str, Any], *, num_queries: int) -> QFormer.Config:
    """Returns the connector of a `qformer_config`.

    Raises:
        ValueError: a setting is not known here.
    """
    return _qformer.of_transformers(qformer_config, num_queries=num_queries, has_text=True)


GENERATION = Whole(
    model=InstructBlipForConditionalGeneration,
    config=InstructBlipConfig,
    processor=InstructBlipProcessor,
    names=CONNECTOR,
    connector=connector,
    settings=_qformer.to_transformers,
    has_text=True,
)
"""The model that answers; beside its Q-Former, a tower and a language model."""
