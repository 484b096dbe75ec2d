"""Processors of transformers for models of ours: placeholders before the begin token."""

import copy
from typing import Any

from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

from isthmus.language.tokenizer import IMAGE_TOKEN
from isthmus.modeling.configuration_vision import IsthmusVisionConfig
from isthmus.modeling.processing_alignment import IsthmusAlignmentProcessor
from isthmus.modeling.processing_isthmus import IsthmusProcessor
from isthmus.shipping.importers._whole import Whole


def stock_processor(
    whole: Whole,
    config: IsthmusVisionConfig,
    processor: IsthmusProcessor | IsthmusAlignmentProcessor,
    *,
    num_queries: int,
) -> tuple[Any, int, tuple[str, ...]]:
    """Returns the published processor of a model, or None where there can be none.

    Args:
        whole: the published class.
        config: of the model.
        processor: of the model.
        num_queries: visual tokens of an image.

    Returns:
        The processor, the id of the placeholder, and what a user should know.
    """
    # The published processor adds the placeholder, where it is not known, to what it is given.
    tokenizer = copy.deepcopy(processor.tokenizer)
    parts: dict[str, Any] = {}
    if isinstance(processor, IsthmusProcessor) and processor.qformer_tokenizer is not None:
        parts["qformer_tokenizer"] = processor.qformer_tokenizer
    published = whole.processor(
        BlipImageProcessorPil(
            size={"height": config.image_size, "width": config.image_size},
            resample=config.image_resample,
            image_mean=list(config.image_mean),
            image_std=list(config.image_std),
        ),
        tokenizer,
        num_query_tokens=num_queries,
        **parts,
    )
    image_token = int(tokenizer.convert_tokens_to_ids(IMAGE_TOKEN))
    if config.image_resize == "naive":
        return published, image_token, ()
    note = (
        f"the model resizes pictures by {config.image_resize!r}, and a "
        f"{whole.processor.__name__} stretches them: no processor was written"
    )
    return None, image_token, (note,)
