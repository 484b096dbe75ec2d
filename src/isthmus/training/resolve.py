"""The names in a recipe, and the things they stand for."""

import shutil
from dataclasses import replace
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from isthmus.data.cache import cache_root
from isthmus.data.rendering import check_template
from isthmus.microworld.source import world_digest
from isthmus.microworld.towers import located
from isthmus.modeling.modeling_isthmus import IsthmusForConditionalGeneration
from isthmus.modeling.processing_isthmus import IsthmusProcessor
from isthmus.training.stage import FileData, MicroworldData, ModelConfig
from isthmus.vision.tower import VisionTower

_CHOICES = (
    *("fusion", "vision_layer", "vision_prefix"),
    *("image_size", "image_resize", "max_tiles"),
)
"""Fields of a `ModelConfig` that decide the architecture as they are."""


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
    if config.attention is not None:
        encoders = [m for m in model.model.vision_tower.modules() if isinstance(m, VisionTower)]
        for part in (*(tower.encoder for tower in encoders), model.model.language_model):
            part.set_attn_implementation(config.attention)
    words = config.qformer_tokenizer
    processor = IsthmusProcessor.from_towers(
        **choices,
        chat_template=config.chat_template,
        qformer_tokenizer=located(words) if words else None,
    )
    check_template(processor)
    return model, processor


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
            )
            unfinished.rename(folder)
        except OSError:
            if not folder.exists():  # otherwise another run wrote the same files meanwhile
                raise
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    return FileData(file=folder / "messages.jsonl", image_root=folder)
