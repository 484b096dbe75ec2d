"""Makes the classes known to the Auto classes of transformers, and to its server by name."""

from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForImageTextToText,
    AutoModelForMultimodalLM,
    AutoProcessor,
)
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES,
    MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES,
)

from isthmus.modeling.body import IsthmusModel
from isthmus.modeling.configuration_alignment import IsthmusAlignmentConfig
from isthmus.modeling.configuration_isthmus import IsthmusConfig
from isthmus.modeling.modeling_alignment import IsthmusForAlignment
from isthmus.modeling.modeling_isthmus import IsthmusForConditionalGeneration
from isthmus.modeling.processing_alignment import IsthmusAlignmentProcessor
from isthmus.modeling.processing_isthmus import IsthmusProcessor
from isthmus.vision.register import register as register_towers


def register() -> None:
    """Registers all classes; a second call changes nothing."""
    register_towers()
    kind = IsthmusConfig.model_type
    AutoConfig.register(kind, IsthmusConfig, exist_ok=True)
    AutoModel.register(IsthmusConfig, IsthmusModel, exist_ok=True)
    AutoProcessor.register(IsthmusConfig, IsthmusProcessor, exist_ok=True)
    AutoConfig.register(IsthmusAlignmentConfig.model_type, IsthmusAlignmentConfig, exist_ok=True)
    AutoModel.register(IsthmusAlignmentConfig, IsthmusForAlignment, exist_ok=True)
    AutoProcessor.register(IsthmusAlignmentConfig, IsthmusAlignmentProcessor, exist_ok=True)
    for auto_class in (AutoModelForImageTextToText, AutoModelForMultimodalLM):
        auto_class.register(IsthmusConfig, IsthmusForConditionalGeneration, exist_ok=True)
    # The server and the pipelines decide by these names; registering classes leaves them out.
    name = IsthmusForConditionalGeneration.__name__
    MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES[kind] = name
    MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES[kind] = name
