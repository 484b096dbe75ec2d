"""BLIP-2's vision transformer (EVA-CLIP g), which transformers has but no Auto class finds."""

from typing import final

from transformers import Blip2VisionModel


@final
class Blip2VisionTower(Blip2VisionModel):
    """transformers' model, which can also be loaded from a whole BLIP-2.

    Paper: BLIP-2, arXiv 2301.12597, section 3.3: the output of the last block but one. Published
    checkpoints end there, at 39 blocks, and their final norm is BLIP-2's own, trained in both of
    its stages; so the layer to ask for is -1.
    Differs: the weights that transformers draws afresh for this family are all but zero (standard
    deviation 1e-10); set `initializer_range` to train one from scratch.
    """

    # Under which the weights lie in a whole BLIP-2.
    base_model_prefix = "vision_model"
