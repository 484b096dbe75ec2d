"""BLIP-2, as transformers has it: its Q-Former, and the whole models around it.

Paper: arXiv 2301.12597.
"""

from collections.abc import Mapping
from typing import Any

from transformers import (
    Blip2Config,
    Blip2ForConditionalGeneration,
    Blip2ForImageTextRetrieval,
    Blip2Processor,
)

from isthmus.connectors._qformer_names import AROUND, QFORMER
from isthmus.connectors.qformer import QFormer
from isthmus.keys import KeyMap
from isthmus.shipping.importers import _qformer
from isthmus.shipping.importers._whole import Whole, vision_pairs

CONNECTOR = KeyMap(
    (*AROUND.pairs, *((f"qformer.{theirs}", ours) for theirs, ours in QFORMER.pairs))
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


def settings(config: QFormer.Config, *, d_vision: int) -> dict[str, Any]:
    """Returns a connector as a `qformer_config`.

    Args:
        config: of the connector.
        d_vision: width of a patch.
    """
    return {
        **_qformer.to_transformers(config, d_vision=d_vision),
        "use_qformer_text_input": config.text is not None,
    }


GENERATION = Whole(
    model=Blip2ForConditionalGeneration,
    config=Blip2Config,
    processor=Blip2Processor,
    names=CONNECTOR,
    connector=connector,
    settings=settings,
    has_text=False,
)
"""The model that answers; beside its Q-Former, a tower and a language model."""

RETRIEVAL = Whole(
    model=Blip2ForImageTextRetrieval,
    config=Blip2Config,
    processor=Blip2Processor,
    names=CONNECTOR,
    connector=connector,
    settings=settings,
    has_text=True,
)
"""The model that compares and matches."""

RETRIEVAL_NAMES = KeyMap(
    (
        *vision_pairs(tower="vision_tower", qformer="qformer"),
        *((theirs, f"qformer.{ours}") for theirs, ours in CONNECTOR.pairs),
        *(
            (f"{head}.*", f"{head}.*")
            for head in ("vision_projection", "text_projection", "itm_head")
        ),
    )
)
"""Of a `Blip2ForImageTextRetrieval`, and of `IsthmusForAlignment` beside its language head and its
temperature, which the published class lacks."""
