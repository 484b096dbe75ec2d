"""A detector that knows the scene behind each picture: the truth, among detections to be refused.

It lies with the tests, for the modules of `isthmus.microworld` are fingerprinted.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import final

from isthmus.data.building.detector import Detection, Detector
from isthmus.data.faults import Fault
from isthmus.microworld.scene import ATTRIBUTES, CANVAS, COLOURS, FILLS, SHAPES, SIZES, Scene
from isthmus.microworld.words import matches

CLUTTER = ("malformed", "low_score", "outside", "tiny", "repeated")
"""Why each of the further detections is no good, one of each for every true one."""

_VALUES = dict(zip(ATTRIBUTES, (SIZES, COLOURS, FILLS, SHAPES), strict=True))


@final
class MicroworldDetector(Detector):
    """Finds the things that have all attributes of a phrase, and the sign."""

    def __init__(self, scenes: Mapping[Path, Scene], *, clutter: bool = False):
        self.scenes, self.clutter = scenes, clutter
        self.asked: list[Path] = []
        """The pictures looked at, in order."""

    @property
    def identity(self) -> dict[str, str]:
        return {"by": "microworld", "clutter": str(self.clutter)}

    def detect(self, image: Path, phrases: Sequence[str]) -> Sequence[Sequence[Detection]]:
        self.asked.append(image)
        if image not in self.scenes:
            raise Fault("image_damaged", f"nothing is known of {image}")
        return [self._found(self.scenes[image], phrase) for phrase in phrases]

    def _found(self, scene: Scene, phrase: str) -> list[Detection]:
        boxes = true_boxes(scene, phrase)
        found = [Detection(box, 0.9) for box in boxes]
        return [*(_clutter(found) if self.clutter else ()), *found]


def true_boxes(scene: Scene, phrase: str) -> list[tuple[float, float, float, float]]:
    """Returns the boxes of what a phrase names, from left to right."""
    words = phrase.split()
    attributes = {
        name: word for name, values in _VALUES.items() for word in words if word in values
    }
    boxes = [thing.box for thing in matches(scene, attributes)] if attributes else []
    if scene.sign and words[-1] == "sign":
        boxes = [scene.sign.box]
    return sorted((float(x0), float(y0), float(x1), float(y1)) for x0, y0, x1, y1 in boxes)


def _clutter(found: Sequence[Detection]) -> list[Detection]:
    """Returns five detections for each one, which are refused for the reasons of `CLUTTER`."""
    wrong = []
    for one in found:
        x0, y0, x1, y1 = one.box
        wrong += [
            Detection((x0, y0, x1 - x0, -1.0), 0.99),  # width and height, as if they were a corner
            Detection(one.box, 0.1),
            Detection((x0 + CANVAS, y0, x1 + CANVAS, y1), 0.99),
            Detection((x0, y0, x0 + 0.5, y0 + 0.5), 0.99),
            Detection((x0 + 1, y0, x1, y1), 0.8),
        ]
    return wrong
