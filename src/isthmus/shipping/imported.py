"""What an import gives, and the checks that all of them share."""

from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import final

import torch
from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedTokenizerBase

from isthmus.connectors.qformer import QFormer
from isthmus.language.backbone import LanguageParts
from isthmus.language.tokenizer import load_tokenizer
from isthmus.modeling.body import build_fusion
from isthmus.modeling.configuration_alignment import IsthmusAlignmentConfig
from isthmus.modeling.configuration_isthmus import IsthmusConfig
from isthmus.modeling.modeling_alignment import IsthmusForAlignment
from isthmus.modeling.modeling_isthmus import IsthmusForConditionalGeneration
from isthmus.modeling.processing_alignment import IsthmusAlignmentProcessor
from isthmus.modeling.processing_isthmus import IsthmusProcessor

CHAT_TEMPLATE = "blip2"
"""How a conversation stands before a causal language model; encoders read it in lines."""

Shapes = Mapping[str, tuple[int, ...]]
"""Shape of each weight by name."""


@final
@dataclass(frozen=True, kw_only=True)
class Imported:
    """A model of ours with the weights of a published one."""

    model: IsthmusForConditionalGeneration | IsthmusForAlignment
    """Ready to be used."""
    processor: IsthmusProcessor | IsthmusAlignmentProcessor
    """That makes samples ready for it."""
    notes: tuple[str, ...] = ()
    """What a user should know: what was left out, or is fresh."""

    def save(self, folder: str | PathLike[str]) -> None:
        """Writes the folder that `isthmus.load` or `isthmus.load_alignment` reads."""
        self.model.save_pretrained(folder)
        self.processor.save_pretrained(folder)


def tokenizer_of(language: str, text_config: PreTrainedConfig) -> PreTrainedTokenizerBase:
    """Returns the tokenizer of a language model, with the placeholder and BLIP-2's chat template.

    Args:
        language: local folder or hub id.
        text_config: of the language model.

    Raises:
        ValueError: there is none, or it cannot be used.
    """
    encodes = bool(text_config.is_encoder_decoder)
    template = None if encodes else CHAT_TEMPLATE
    return load_tokenizer(language, template=template, is_encoder_decoder=encodes)


def caption_tokens(connector: QFormer.Config) -> int:
    """Returns how many tokens of a text are read: the default, or all positions where fewer.

    Args:
        connector: with a text side.
    """
    assert connector.text is not None  # the import of a model that compares checks it
    return min(IsthmusAlignmentConfig.max_caption_tokens, connector.text.num_positions)


def assembled(
    config: IsthmusConfig, parts: LanguageParts, weights: Mapping[str, Tensor]
) -> IsthmusForConditionalGeneration:
    """Returns a model of a language model's modules and of weights for all else.

    Args:
        config: of the model.
        parts: of the language model.
        weights: of tower and connector, by our names.
    """
    with torch.device("meta"):
        model = IsthmusForConditionalGeneration(config)
    model.model.language_model, model.lm_head = parts.backbone, parts.head
    model.model.fusion = build_fusion(config, parts.backbone)
    if parts.generation_config is not None:
        model.generation_config = parts.generation_config
    # The language model's own stay: assigned anew, they would no longer be tied.
    left = model.load_state_dict(weights, strict=False, assign=True).missing_keys
    assert all(name.startswith(("model.language_model.", "lm_head.")) for name in left)
    return model.eval()


def shapes_of(weights: Mapping[str, Tensor]) -> Shapes:
    """Returns the shape of each weight by name."""
    return {name: tuple(value.shape) for name, value in weights.items()}


def check_shapes(found: Shapes, expected: Shapes, source: str | PathLike[str]) -> None:
    """Checks that all weights that a model needs are there, and fit.

    Args:
        found: of the source.
        expected: of the model, under the names of the source.
        source: where they came from.

    Raises:
        ValueError: one is missing or of another shape; the message names it.
    """
    if missing := [name for name in expected if name not in found]:
        raise ValueError(
            f"{source} lacks {len(missing)} of the weights that its settings ask for, such as "
            f"{missing[0]!r} of shape {expected[missing[0]]}; copy or download the whole again"
        )
    if wrong := [name for name in expected if found[name] != expected[name]]:
        raise ValueError(
            f"{source} holds {wrong[0]!r} of shape {found[wrong[0]]}; its settings ask for "
            f"{expected[wrong[0]]}, so weights and settings are of two models"
        )


def check_empty(folder: str | PathLike[str]) -> Path:
    """Returns the path of a folder that can be written to.

    Raises:
        ValueError: something lies there already.
    """
    path = Path(folder)
    if path.is_file() or (path.is_dir() and any(path.iterdir())):
        raise ValueError(f"{path} is there already; name a folder that is empty or does not exist")
    return path
