"""The self-supervised tower: a DINOv2 vision transformer that paints in hidden patches.

Paper: 2111.09886 (SimMIM): mask tokens and a linear head that tells the hidden pixels. Differs: the
squared error, since the median of a patch that may hold a thing is the background, and nothing but
that was learnt; another share is hidden of each picture, so that some are easy. No label and no
caption is seen.
"""

from pathlib import Path
from random import Random
from typing import final

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from transformers import Dinov2Config, Dinov2Model

from isthmus.microworld.scene import CANVAS
from isthmus.microworld.towers.pixels import GRID, PATCH, pictures
from isthmus.microworld.towers.preprocessing import save_image_processor
from isthmus.microworld.towers.pretrain import Pretraining
from isthmus.microworld.towers.probe import attribute_probes

_WIDTH, _IMAGES = 128, 64
_HIDDEN_SHARES = (0.1, 0.7)


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
        # Drawn at random, places are too faint beside colours for a patch to find its neighbours.
        with torch.no_grad():
            self.vision.embeddings.position_embeddings[0, 1:] = places()
        self.head = nn.Linear(_WIDTH, 3 * PATCH * PATCH)


def places() -> Float[Tensor, "patches d_vision"]:
    """Sines and cosines of the row, then of the column, of each patch of the grid.

    Paper: 2111.06377 (MAE), which takes them from 1706.03762.
    """
    quarter = _WIDTH // 4
    frequencies = 1e2 ** -(torch.arange(quarter) / quarter)
    angles = torch.arange(GRID)[:, None] * frequencies
    line = torch.cat([angles.sin(), angles.cos()], dim=1)
    rows, columns = line.repeat_interleave(GRID, 0), line.repeat(GRID, 1)
    return torch.cat([rows, columns], dim=1)


@final
class MaskedPatches(Pretraining):
    """Some of the patches are hidden; their pixels are told from the others."""

    name = "dinov2"
    learning_rate = 1e-3

    def __init__(self, *, steps: int, seed: int) -> None:
        self.steps, self.seed = steps, seed
        torch.manual_seed(seed)
        self.model = _Painter()

    def loss(self, step: int) -> tuple[Tensor, dict[str, float]]:
        """Mean squared error over the hidden pixels."""
        batch = pictures("train", _IMAGES, Random(f"masked/{self.seed}/{step}"))
        pixels = batch.normalised()
        shares = torch.empty(len(pixels), 1).uniform_(*_HIDDEN_SHARES)
        hidden = torch.rand(len(pixels), GRID * GRID) < shares
        patches = self.model.vision(pixel_values=pixels, bool_masked_pos=hidden)[0][:, 1:]
        painted = self.model.head(patches[hidden]).float()
        truth = rearrange(pixels, "b c (h p) (w q) -> b (h w) (c p q)", p=PATCH, q=PATCH)
        loss = F.mse_loss(painted, truth[hidden])
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
