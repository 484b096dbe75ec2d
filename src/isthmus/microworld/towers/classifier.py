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
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn
from transformers import ViTConfig, ViTModel

from isthmus.microworld.render import RGB
from isthmus.microworld.scene import CANVAS, SEEN, Box, Scene, Split, Thing, draw_scene
from isthmus.microworld.towers.masked import places
from isthmus.microworld.towers.pixels import GRID, PATCH, normalised, rendered
from isthmus.microworld.towers.preprocessing import save_image_processor
from isthmus.microworld.towers.pretrain import Pretraining
from isthmus.microworld.towers.probe import attribute_probes

_WIDTH, _TEST_PICTURES = 128, 2000
_CLEARLY = 1.5
"""How many times the area of any other thing the largest has: else a label would be a toss-up."""
_LARGE_SHARE, _CLOSE_SHARE = 0.4, 0.85
"""Until which share of the steps there is one large thing alone, and only its window is seen."""
_WINDOW = 4
"""Side of a window in patches: a large thing fits in, wherever it lies."""
_CLOSE_IMAGES, _WHOLE_IMAGES = 128, 32
"""Pictures a step, as windows and as wholes: as many patches either way."""


@final
class _Classifier(nn.Module):
    """The tower and a linear head over its patches.

    A class is told of a picture as loudly as by its loudest patches; of their mean, mostly
    background, shapes were learnt more slowly. Nobody reads the class token.

    Paper: 1411.6228, section 3.2 (the logarithm of summed exponentials).
    """

    def __init__(self) -> None:
        super().__init__()
        config = ViTConfig(
            hidden_size=_WIDTH,
            num_hidden_layers=6,
            num_attention_heads=4,
            intermediate_size=4 * _WIDTH,
            image_size=CANVAS,
            patch_size=PATCH,
            initializer_range=_WIDTH**-0.5,  # the usual 0.02 is for six times the width
        )
        self.vision = ViTModel(config, add_pooling_layer=False)
        self.vision.set_attn_implementation("eager")  # the fastest backward here, see contrastive
        with torch.no_grad():
            self.vision.embeddings.position_embeddings[0, 1:] = places()
        self.head = nn.Linear(_WIDTH, len(SEEN))

    def forward(
        self,
        pixels: UInt8[Tensor, "images 3 height width"],
        windows: Int[Tensor, "images seen"] | None = None,
    ) -> Float[Tensor, "images classes"]:
        """Logits of pictures of which only the windows are seen, the wholes when None."""
        tokens = self.vision.embeddings(normalised(pixels))
        if windows is not None:
            prefix, patches = tokens.split([1, GRID * GRID], dim=1)
            seen = patches.take_along_dim(windows[:, :, None], dim=1)
            tokens = torch.cat([prefix, seen], dim=1)
        for layer in self.vision.layers:
            tokens = layer(tokens)
        patches = self.vision.layernorm(tokens)[:, 1:]
        return self.head(patches).float().logsumexp(1)


@final
class Classification(Pretraining):
    """Cross-entropy over the pairs of shape and colour that training may show.

    First of all a picture is a window on one large thing, as the pictures of ImageNet are centred
    on their object and cropped at random; then on the largest of several; at last it is the whole.
    Begun with wholes, no shape was learnt in 1,200 steps.
    """

    name = "vit"
    learning_rate = 6e-3

    def __init__(self, *, steps: int, seed: int) -> None:
        self.steps, self.seed = steps, seed
        torch.manual_seed(seed)
        self.model = _Classifier()

    def loss(self, step: int) -> tuple[Tensor, dict[str, float]]:
        """Cross-entropy of a batch of new pictures."""
        rng = Random(f"labels/{self.seed}/{step}")
        draw = _lone_large if step < _LARGE_SHARE * self.steps else labelled_scene
        close = step < _CLOSE_SHARE * self.steps
        drawn = [draw("train", rng) for _ in range(_CLOSE_IMAGES if close else _WHOLE_IMAGES)]
        windows = torch.tensor([window(it.box, rng) for _, it in drawn]) if close else None
        logits = self.model(_pixels(drawn), windows)
        labels = _labels(drawn)
        loss = F.cross_entropy(logits, labels)
        return loss, {"loss": loss.item(), "accuracy": _accuracy(logits, labels)}

    def scores(self) -> dict[str, float]:
        """Accuracy on test pictures, then linear probes on one patch of a test thing."""
        rng = Random("labels/test")
        drawn = [labelled_scene("test", rng) for _ in range(_TEST_PICTURES)]
        with torch.no_grad():
            accuracy = _accuracy(self.model(_pixels(drawn)), _labels(drawn))
        probes = attribute_probes(lambda pixels: self.model.vision(pixel_values=pixels)[0])
        return {"accuracy": accuracy, **probes}

    def save(self, folder: Path) -> None:
        """Writes the tower in fp16 with its image processor; the head stays behind."""
        half = ViTModel(self.model.vision.config, add_pooling_layer=False)
        half.load_state_dict(self.model.vision.state_dict())
        half.half().save_pretrained(folder)
        save_image_processor(folder)


Labelled = tuple[Scene, Thing]
"""A scene, and the thing in it that gives the label."""


def labelled_scene(split: Split, rng: Random) -> Labelled:
    """Draws a scene of a split in which one thing is clearly the largest, and that thing."""
    while True:
        scene = draw_scene(split, rng)
        largest, *others = sorted(scene.things, key=_area, reverse=True)
        if all(_area(largest) >= _CLEARLY * _area(other) for other in others):
            return scene, largest


def _lone_large(split: Split, rng: Random) -> Labelled:
    """Draws a scene of one thing, a large one."""
    while True:
        scene = draw_scene(split, rng, 1)
        if scene.things[0].size == "large":
            return scene, scene.things[0]


def window(box: Box, rng: Random) -> list[int]:
    """Numbers of the patches in a square around a box, anywhere as long as the box is inside."""
    x0, y0, x1, y1 = (edge // PATCH for edge in (box[0], box[1], box[2] - 1, box[3] - 1))
    left, top = (
        rng.randint(max(0, high + 1 - _WINDOW), min(low, GRID - _WINDOW))
        for low, high in ((x0, x1), (y0, y1))
    )
    return [(top + row) * GRID + left + col for row in range(_WINDOW) for col in range(_WINDOW)]


def _area(thing: Thing) -> int:
    x0, y0, x1, y1 = thing.box
    return (x1 - x0) * (y1 - y0)


def _pixels(drawn: list[Labelled]) -> UInt8[Tensor, "images 3 height width"]:
    return rendered([scene for scene, _ in drawn], repeat(RGB))


def _labels(drawn: list[Labelled]) -> Int[Tensor, " images"]:
    return torch.tensor([SEEN.index((thing.shape, thing.colour)) for _, thing in drawn])


def _accuracy(logits: Tensor, labels: Tensor) -> float:
    return (logits.argmax(1) == labels).float().mean().item()
