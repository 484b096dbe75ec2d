"""The model of a recipe without its weights: from configurations alone, on the meta device."""

from typing import Any

import torch

from isthmus.connectors.base import ConnectorConfig
from isthmus.language.backbone import text_config_of
from isthmus.language.tokenizer import IMAGE_TOKEN
from isthmus.microworld.towers import located
from isthmus.modeling.configuration_alignment import IsthmusAlignmentConfig
from isthmus.modeling.configuration_isthmus import IsthmusConfig
from isthmus.modeling.configuration_vision import portable, vision_fields
from isthmus.modeling.modeling_alignment import IsthmusForAlignment
from isthmus.modeling.modeling_isthmus import IsthmusForConditionalGeneration
from isthmus.pretrained import published
from isthmus.training.models import AlignmentConfig, ModelConfig


def architecture(config: ModelConfig | AlignmentConfig) -> IsthmusConfig | IsthmusAlignmentConfig:
    """Returns the architecture of a recipe's model, of which no weight is needed."""
    images: dict[str, Any] = {
        "vision_layer": config.vision_layer,
        "vision_prefix": config.vision_prefix,
        "image_size": config.image_size,
        "image_resize": config.image_resize,
    }
    vision = published(located(config.vision))
    if isinstance(config, AlignmentConfig):
        return IsthmusAlignmentConfig(
            **vision_fields(vision, **images),
            qformer_config=config.qformer.to_dict(),
            d_embedding=config.d_embedding,
            max_caption_tokens=config.max_caption_tokens,
            pad_token_id=0,
            cls_token_id=1,
            bos_token_id=2,
            eos_token_id=3,
        )
    beside = [
        type(each)(name=published(located(each.name)), layer=each.layer, image_size=each.image_size)
        for each in config.towers_beside()
    ]
    text = text_config_of(published(located(config.language)))
    return IsthmusConfig(
        **vision_fields(vision, beside=beside, max_tiles=config.max_tiles, **images),
        text_config=portable(text),
        connector_config=_connector(config).to_dict(),
        visual_fusion_config=config.fusion.to_dict(),
        clip_frames=config.clip_frames,
        image_token=IMAGE_TOKEN,
        image_token_id=text.vocab_size,
    )


def _connector(config: ModelConfig) -> ConnectorConfig:
    """Returns the connector with the architecture of what it starts from."""
    if config.connector_start is None:
        return config.connector
    return config.connector.shaped(published(located(config.connector_start)))


def on_meta(
    config: IsthmusConfig | IsthmusAlignmentConfig,
) -> IsthmusForConditionalGeneration | IsthmusForAlignment:
    """Returns a model without weights."""
    with torch.device("meta"):
        if isinstance(config, IsthmusAlignmentConfig):
            return IsthmusForAlignment(config)
        return IsthmusForConditionalGeneration(config)
