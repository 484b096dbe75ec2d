"""A detector that finds phrases in pictures, for grounded captions: OWL-ViT or OWLv2."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, final

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import AutoModelForZeroShotObjectDetection, AutoProcessor

from isthmus.data.building.detector import Detection, Detector
from isthmus.data.images import as_seen, opened
from isthmus.modeling import fingerprint
from isthmus.pretrained import read_config

FAMILIES = ("owlvit", "owlv2")


@final
class OwlDetector(Detector):
    """Asks for each phrase by itself: a box is given to every phrase that it fits, not to one."""

    def __init__(self, name: str, *, least_score: float = 0.1, device: str = "cpu"):
        """Loads the model.

        Args:
            name: local folder or hub id.
            least_score: below which a box is not even told; it spares the journal.
            device: where it computes.

        Raises:
            ValueError: there is no such model, or it is of another family.
        """
        try:
            family = read_config(name).model_type
            if family not in FAMILIES:
                raise ValueError(f"{name!r} is a {family!r}; expected {' or '.join(FAMILIES)}")
            self._processor: Any = AutoProcessor.from_pretrained(name)
            self._model: Any = AutoModelForZeroShotObjectDetection.from_pretrained(name)
        except OSError as error:
            raise ValueError(f"the detector {name!r} cannot be loaded: {error}") from error
        self._model.to(device).eval()
        self._name, self._least_score = name, least_score

    @property
    def identity(self) -> dict[str, str]:
        """The model, its weights, and the least score."""
        weights = fingerprint.of_weights(self._model.state_dict())
        return {"by": self._name, "weights": weights, "least_score": f"{self._least_score:g}"}

    @torch.no_grad()
    def detect(self, image: Path, phrases: Sequence[str]) -> Sequence[Sequence[Detection]]:
        """Returns the boxes of each phrase; see `Detector.detect`."""
        with opened(image, f"the image {image}") as picture:
            seen = as_seen(picture)
        inputs = self._processor(
            text=[list(phrases)],
            images=seen,
            return_tensors="pt",
            padding=True,
            truncation=True,
            max_length=self._model.config.text_config.max_position_embeddings,
        )
        out = self._model(**inputs.to(self._model.device))
        size = (seen.height, seen.width)
        return [self._found(out.logits[..., [n]], out, size) for n in range(len(phrases))]

    def _found(
        self,
        logits: Float[Tensor, "1 places 1"],
        out: Any,
        size: tuple[int, int],
    ) -> list[Detection]:
        """Returns the boxes of one phrase, in pixels of the picture."""
        alone = type(out)(logits=logits, pred_boxes=out.pred_boxes)
        (found,) = self._processor.post_process_grounded_object_detection(
            alone, threshold=self._least_score, target_sizes=[size]
        )
        boxes, scores = found["boxes"].tolist(), found["scores"].tolist()
        return [Detection(tuple(b), score) for b, score in zip(boxes, scores, strict=True)]
