"""Makes the towers that the Auto classes of transformers lack known to them."""

from transformers import AutoConfig, AutoModel, Blip2VisionConfig

from isthmus.vision.blip2 import Blip2VisionTower
from isthmus.vision.coca import CocaVisionModel
from isthmus.vision.configuration import CocaVisionConfig, Eva2ClipVisionConfig
from isthmus.vision.eva2_clip import Eva2ClipVisionModel


def register() -> None:
    """Registers all towers; a second call changes nothing."""
    for config in (CocaVisionConfig, Eva2ClipVisionConfig):
        AutoConfig.register(config.model_type, config, exist_ok=True)
    AutoModel.register(CocaVisionConfig, CocaVisionModel, exist_ok=True)
    AutoModel.register(Eva2ClipVisionConfig, Eva2ClipVisionModel, exist_ok=True)
    AutoModel.register(Blip2VisionConfig, Blip2VisionTower, exist_ok=True)
