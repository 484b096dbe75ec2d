"""Whole models of transformers: the tower and the language model on both sides of a Q-Former."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

import torch
from transformers import PreTrainedConfig

from isthmus.connectors.qformer import QFormer
from isthmus.keys import KeyMap, Pair
from isthmus.language.backbone import stock_class
from isthmus.shipping.importers._tower import FINAL_NORM


@final
@dataclass(frozen=True, kw_only=True)
class Whole:
    """A class of transformers that holds a tower, a Q-Former, and what reads its queries."""

    model: Any
    """The class."""
    config: Any
    """Class of its configuration."""
    processor: Any
    """Class of its processor."""
    names: KeyMap
    """Of all that lies between the tower and the language model."""
    connector: Callable[..., QFormer.Config]
    """Returns the connector of a `qformer_config`."""
    settings: Callable[..., dict[str, Any]]
    """Returns the `qformer_config` of a connector."""
    has_text: bool
    """Whether the Q-Former has a text side."""

    def generation_names(self, text_config: PreTrainedConfig) -> KeyMap:
        """Returns all names of a model that answers, and of `IsthmusForConditionalGeneration`.

        Args:
            text_config: of the language model.
        """
        return KeyMap(
            (
                *vision_pairs(tower="model.vision_tower", qformer="model.connector"),
                *((theirs, f"model.connector.{ours}") for theirs, ours in self.names.pairs),
                *language_pairs(text_config),
            )
        )


def vision_pairs(*, tower: str, qformer: str) -> tuple[Pair, ...]:
    """Returns the names of the tower and of its final norm, which either side may hold.

    Args:
        tower: where ours lies.
        qformer: where our Q-Former lies, whose norm of the patches that is.
    """
    return (
        (f"vision_model.{FINAL_NORM}.*", f"{qformer}.patch_norm.*"),
        ("vision_model.**", f"{tower}.encoder.**"),
    )


def language_pairs(text_config: PreTrainedConfig) -> tuple[Pair, ...]:
    """Returns the names of a language model inside the published class, its head apart."""
    with torch.device("meta"):
        stock = stock_class(text_config).from_config(copy.deepcopy(text_config))
    head = next(n for n, m in stock.named_modules() if m is stock.get_output_embeddings())
    # Some families (T5) keep the parts of the body side by side with the head.
    body = "" if stock.base_model is stock else f"{stock.base_model_prefix}."
    return (
        (f"language_model.{head}.*", "lm_head.*"),
        (f"language_model.{body}**", "model.language_model.**"),
    )
