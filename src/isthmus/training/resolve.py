"""The names in a recipe, and the things they stand for."""

import shutil
from pathlib import Path
from tempfile import mkdtemp

from isthmus.data.cache import cache_root
from isthmus.data.rendering import check_template
from isthmus.microworld.source import world_digest
from isthmus.microworld.towers import located
from isthmus.modeling.modeling_isthmus import IsthmusForConditionalGeneration
from isthmus.modeling.processing_isthmus import IsthmusProcessor
from isthmus.training.stage import FileData, MicroworldData, ModelConfig


def build_model(
    config: ModelConfig,
) -> tuple[IsthmusForConditionalGeneration, IsthmusProcessor]:
    """Returns the model of a recipe with a fresh connector, and its processor.

    Raises:
        ValueError: a part cannot be used, or the chat template does not tell the answers.
    """
    vision, language = located(config.vision), located(config.language)
    model = IsthmusForConditionalGeneration.from_towers(
        vision=vision,
        language=language,
        connector=config.connector,
        fusion=config.fusion,
        vision_layer=config.vision_layer,
        four_bit=config.four_bit,
    )
    if config.attention is not None:
        for part in (model.model.vision_tower.encoder, model.model.language_model):
            part.set_attn_implementation(config.attention)
    processor = IsthmusProcessor.from_towers(
        vision=vision,
        language=language,
        connector=config.connector,
        fusion=config.fusion,
        vision_layer=config.vision_layer,
        chat_template=config.chat_template,
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
