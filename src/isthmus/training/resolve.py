"""The names in a recipe, and the things they stand for."""

import shutil
from dataclasses import replace
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, cast

from isthmus.data.cache import cache_root
from isthmus.data.rendering import check_template
from isthmus.microworld.source import world_digest
from isthmus.microworld.towers import located
from isthmus.modeling.configuration_alignment import IsthmusAlignmentConfig
from isthmus.modeling.modeling_alignment import IsthmusForAlignment
from isthmus.modeling.modeling_isthmus import IsthmusForConditionalGeneration
from isthmus.modeling.processing_alignment import (
    IsthmusAlignmentProcessor,
    load_text_tokenizer,
    token_ids,
)
from isthmus.modeling.processing_isthmus import IsthmusProcessor
from isthmus.training.data import FileData, MicroworldData
from isthmus.training.examples import Conversations, Examples, Pairs
from isthmus.training.models import AlignmentConfig, ModelConfig
from isthmus.vision.tower import VisionTower

_CHOICES = (
    *("fusion", "clip_frames", "vision_layer", "vision_prefix"),
    *("image_size", "image_resize", "max_tiles"),
)
"""Fields of a `ModelConfig` that decide the architecture as they are."""
_ALIGNMENT_CHOICES = (
    *("vision_layer", "vision_prefix", "image_size", "image_resize"),
    *("d_embedding", "temperature", "max_caption_tokens"),
)
"""The same of an `AlignmentConfig`."""

Model = IsthmusForConditionalGeneration | IsthmusForAlignment
"""What a stage trains."""
ModelProcessor = IsthmusProcessor | IsthmusAlignmentProcessor
"""What makes samples ready for it."""


def build_model(
    config: ModelConfig,
) -> tuple[IsthmusForConditionalGeneration, IsthmusProcessor]:
    """Returns the model of a recipe with a fresh connector, and its processor.

    Raises:
        ValueError: a part cannot be used, or the chat template does not tell the answers.
    """
    language, connector = located(config.language), config.connector
    start = config.connector_start and located(config.connector_start)
    if start:
        connector = connector.fitted(start, language=language)
    choices: dict[str, Any] = {
        "vision": located(config.vision),
        "language": language,
        "connector": connector,
        "beside": [replace(t, name=located(t.name)) for t in config.towers_beside()],
        **{name: getattr(config, name) for name in _CHOICES},
    }
    model = IsthmusForConditionalGeneration.from_towers(**choices, four_bit=config.four_bit)
    if start:
        model.model.connector.start_from(start)
    set_attention(model, config.attention)
    words = config.qformer_tokenizer
    processor = IsthmusProcessor.from_towers(
        **choices,
        chat_template=config.chat_template,
        qformer_tokenizer=located(words) if words else None,
    )
    check_template(processor)
    return model, processor


def build_alignment(
    config: AlignmentConfig,
) -> tuple[IsthmusForAlignment, IsthmusAlignmentProcessor]:
    """Returns the model of a recipe without a language model, and its processor.

    Raises:
        ValueError: a part cannot be used, or they do not fit each other.
    """
    vision, text = located(config.vision), located(config.text)
    tokenizer = load_text_tokenizer(text)
    side = config.qformer.text
    if side is not None and len(tokenizer) > side.vocab_size:
        raise ValueError(
            f"the tokenizer of {config.text!r} has {len(tokenizer)} entries, and the Q-Former a "
            f"vocabulary of {side.vocab_size}; set qformer.text.vocab_size"
        )
    architecture = IsthmusAlignmentConfig.from_towers(
        vision=vision,
        qformer=config.qformer,
        tokens=token_ids(tokenizer),
        **{name: getattr(config, name) for name in _ALIGNMENT_CHOICES},
    )
    model = IsthmusForAlignment.join(architecture, vision=[vision])
    if config.text_start:
        model.qformer.start_from(text)
    set_attention(model, config.attention)
    return model, IsthmusAlignmentProcessor.for_model(architecture, tokenizer)


def build(config: ModelConfig | AlignmentConfig) -> tuple[Model, ModelProcessor]:
    """Returns the model of a stage with its fresh parts, and its processor.

    Raises:
        ValueError: a part cannot be used.
    """
    return build_model(config) if isinstance(config, ModelConfig) else build_alignment(config)


def examples_of(model: Model, processor: ModelProcessor) -> Examples:
    """Returns how a model learns from samples."""
    if isinstance(model, IsthmusForAlignment):
        return Pairs(cast(IsthmusAlignmentProcessor, processor))
    return Conversations(cast(IsthmusProcessor, processor), model.config.max_positions)


def set_attention(model: Model, kernel: str | None) -> None:
    """Chooses the attention kernel of towers and language model, by transformers' name.

    Args:
        model: changed in place.
        kernel: its name; None leaves the choice to transformers.
    """
    if kernel is None:
        return
    for module in model.modules():
        if isinstance(module, VisionTower):
            module.encoder.set_attn_implementation(kernel)
    if isinstance(model, IsthmusForConditionalGeneration):
        model.model.language_model.set_attn_implementation(kernel)


def microworld_files(data: MicroworldData) -> FileData:
    """Returns samples of the embedded world as files in the cache, written when they are not yet.

    The folder's name holds the fingerprint of the world's source, so a changed world is another.
    """
    name = f"{data.split}-{data.num}-{data.digest()}-{world_digest()}"
    folder = cache_root() / "microworld" / name
    if not folder.exists():
        from isthmus.microworld.export import export

        folder.parent.mkdir(parents=True, exist_ok=True)
        unfinished = Path(mkdtemp(prefix=f".{name}-", dir=folder.parent))
        try:
            export(
                unfinished,
                split=data.split,
                num=data.num,
                seed=data.seed,
                turns=data.turns,
                tasks=data.tasks,
                still_frames=data.still_frames,
            )
            unfinished.rename(folder)
        except OSError:
            if not folder.exists():  # otherwise another run wrote the same files meanwhile
                raise
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    return FileData(file=folder / "messages.jsonl", image_root=folder)
