"""The supervised tower: a vision transformer that learns one label a picture, as on ImageNet.

The label is the shape and colour of the largest thing. Nothing is told of the other things, of
places, or of signs: what such a tower knows of them it knows by the way.
"""

from itertools import repeat
from pathlib import Path
from random import Random
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import ViTConfig, ViTModel

from isthmus.microworld.render import RGB
from isthmus.microworld.scene import CANVAS, SEEN, Scene, Split, Thing, draw_scene
from isthmus.microworld.towers.pixels import PATCH, normalised, rendered
from isthmus.microworld.towers.preprocessing import save_image_processor
from isthmus.microworld.towers.pretrain import Pretraining
from isthmus.microworld.towers.probe import attribute_probes

_WIDTH, _IMAGES, _TEST_PICTURES = 128, 32, 2000
_CLEARLY = 1.5
"""How many times the area of any other thing the largest has: else a label would be a toss-up."""


@final
class _Classifier(nn.Module):
    """The tower and the linear head over its pooled class token."""

    def __init__(self) -> None:
        super().__init__()
        self.vision = ViTModel(
            ViTConfig(
                hidden_size=_WIDTH,
                num_hidden_layers=6,
                num_attention_heads=4,
                intermediate_size=4 * _WIDTH,
                image_size=CANVAS,
                patch_size=PATCH,
                initializer_range=_WIDTH**-0.5,  # the usual 0.02 is for six times the width
            )
        )
        self.vision.set_attn_implementation("eager")  # the fastest backward here, see contrastive
        self.head = nn.Linear(_WIDTH, len(SEEN))


@final
class Classification(Pretraining):
    """Cross-entropy over the pairs of shape and colour that training may show."""

    name = "vit"
    learning_rate = 2e-3

    def __init__(self, *, steps: int, seed: int) -> None:
        self.steps, self.seed = steps, seed
        torch.manual_seed(seed)
        self.model = _Classifier()

    def loss(self, step: int) -> tuple[Tensor, dict[str, float]]:
        """Cross-entropy of a batch of new pictures."""
        logits, labels = self._classified("train", _IMAGES, Random(f"labels/{self.seed}/{step}"))
        loss = F.cross_entropy(logits, labels)
        right = (logits.argmax(1) == labels).float().mean()
        return loss, {"loss": loss.item(), "accuracy": right.item()}

    def _classified(self, split: Split, num: int, rng: Random) -> tuple[Tensor, Tensor]:
        """Logits and labels of `num` new pictures."""
        drawn = [labelled_scene(split, rng) for _ in range(num)]
        pixels = normalised(rendered([scene for scene, _ in drawn], repeat(RGB)))
        pooled = self.model.vision(pixel_values=pixels).pooler_output
        labels = torch.tensor([SEEN.index((it.shape, it.colour)) for _, it in drawn])
        return self.model.head(pooled).float(), labels

    def scores(self) -> dict[str, float]:
        """Accuracy on test pictures, then linear probes on one patch of a test thing."""
        with torch.no_grad():
            logits, labels = self._classified("test", _TEST_PICTURES, Random("labels/test"))
        right = (logits.argmax(1) == labels).float().mean()
        probes = attribute_probes(lambda pixels: self.model.vision(pixel_values=pixels)[0])
        return {"accuracy": right.item(), **probes}

    def save(self, folder: Path) -> None:
        """Writes the tower in fp16 with its image processor; the head stays behind."""
        half = ViTModel(self.model.vision.config)
        half.load_state_dict(self.model.vision.state_dict())
        half.half().save_pretrained(folder)
        save_image_processor(folder)


def labelled_scene(split: Split, rng: Random) -> tuple[Scene, Thing]:
    """Draws a scene of a split in which one thing is clearly the largest, and that thing."""
    while True:
        scene = draw_scene(split, rng)
        largest, *others = sorted(scene.things, key=_area, reverse=True)
        if all(_area(largest) >= _CLEARLY * _area(other) for other in others):
            return scene, largest


def _area(thing: Thing) -> int:
    x0, y0, x1, y1 = thing.box
    return (x1 - x0) * (y1 - y0)
