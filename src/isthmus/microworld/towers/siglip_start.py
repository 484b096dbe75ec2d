"""Where a SigLIP vision transformer's training starts: from nothing, or from a folder, grown."""

from collections.abc import Callable
from pathlib import Path

import torch
from transformers import SiglipVisionConfig, SiglipVisionModel

from isthmus.microworld.scene import CANVAS
from isthmus.microworld.towers.deepened import deepened
from isthmus.microworld.towers.pixels import PATCH

VisionStart = Callable[[], SiglipVisionModel]

_HEAD_WIDTH = 32


def fresh_vision(*, width: int, depth: int) -> VisionStart:
    """A vision transformer drawn at random."""
    return lambda: SiglipVisionModel(
        SiglipVisionConfig(
            hidden_size=width,
            intermediate_size=4 * width,
            num_hidden_layers=depth,
            num_attention_heads=width // _HEAD_WIDTH,
            image_size=CANVAS,
            patch_size=PATCH,
        )
    )


def grown_vision(folder: Path, *, depth: int) -> VisionStart:
    """The vision transformer of a folder, deeper; only its new layers learn, see `deepened`."""

    def start() -> SiglipVisionModel:
        model = SiglipVisionModel.from_pretrained(folder, dtype=torch.float32)
        model.requires_grad_(False)
        outputs = ("self_attn.out_proj", "mlp.fc2")
        model.encoder.layers = deepened(model.encoder.layers, depth, outputs=outputs)
        model.config.num_hidden_layers = depth
        return model

    return start
