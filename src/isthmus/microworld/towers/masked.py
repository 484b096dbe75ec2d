"""The self-supervised tower: a DINOv2 vision transformer that paints in hidden patches.

Paper: 2111.09886 (SimMIM): mask tokens, a linear head, the L1 distance of the hidden pixels. No
label and no caption is seen.
"""

from pathlib import Path
from random import Random
from typing import final

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn
from transformers import Dinov2Config, Dinov2Model

from isthmus.microworld.scene import CANVAS
from isthmus.microworld.towers.pixels import GRID, PATCH, pictures
from isthmus.microworld.towers.preprocessing import save_image_processor
from isthmus.microworld.towers.pretrain import Pretraining
from isthmus.microworld.towers.probe import attribute_probes

_WIDTH, _IMAGES, _HIDDEN_SHARE = 128, 64, 0.5


@final
class _Painter(nn.Module):
    """The tower and the linear head that paints a patch."""

    def __init__(self) -> None:
        super().__init__()
        self.vision = Dinov2Model(
            Dinov2Config(
                hidden_size=_WIDTH,
                num_hidden_layers=6,
                num_attention_heads=4,
                mlp_ratio=4,
                image_size=CANVAS,
                patch_size=PATCH,
                layerscale_value=1.0,
            )
        )
        self.vision.set_attn_implementation("eager")  # the fastest backward here, see contrastive
        self.head = nn.Linear(_WIDTH, 3 * PATCH * PATCH)


@final
class MaskedPatches(Pretraining):
    """Half of the patches are hidden; their pixels are told from the others."""

    name = "dinov2"
    learning_rate = 2e-3

    def __init__(self, *, steps: int, seed: int) -> None:
        self.steps, self.seed = steps, seed
        torch.manual_seed(seed)
        self.model = _Painter()

    def loss(self, step: int) -> tuple[Tensor, dict[str, float]]:
        """Mean absolute error over the hidden pixels."""
        batch = pictures("train", _IMAGES, Random(f"masked/{self.seed}/{step}"))
        pixels = batch.normalised()
        hidden = torch.rand(len(pixels), GRID * GRID) < _HIDDEN_SHARE
        patches = self.model.vision(pixel_values=pixels, bool_masked_pos=hidden)[0][:, 1:]
        painted = self.model.head(patches[hidden]).float()
        truth = rearrange(pixels, "b c (h p) (w q) -> b (h w) (c p q)", p=PATCH, q=PATCH)
        loss = F.l1_loss(painted, truth[hidden])
        return loss, {"loss": loss.item()}

    def scores(self) -> dict[str, float]:
        """Linear probes on one patch of a test thing, for each attribute."""
        return attribute_probes(lambda pixels: self.model.vision(pixel_values=pixels)[0])

    def save(self, folder: Path) -> None:
        """Writes the tower in fp16 with its image processor."""
        half = Dinov2Model(self.model.vision.config)
        half.load_state_dict(self.model.vision.state_dict())
        half.half().save_pretrained(folder)
        save_image_processor(folder)
