"""The contract of a detector that finds phrases in pictures, as GLIPv2 does; none is shipped."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

from isthmus.geometry.boxes import Box


@final
@dataclass(frozen=True, slots=True)
class Detection:
    """A place where a phrase was found. It may be wrong in any way; `ground_caption` checks it."""

    box: Box
    """Units: pixels of the original picture as it is seen, which `images.upright_size` measures."""
    score: float
    """How sure the detector is; more is surer."""


class Detector(ABC):
    """Finds phrases in pictures."""

    @property
    @abstractmethod
    def identity(self) -> dict[str, str]:
        """What decides the boxes (kind, weights, prompt), so that two are not mixed in one file."""

    @abstractmethod
    def detect(self, image: Path, phrases: Sequence[str]) -> Sequence[Sequence[Detection]]:
        """Returns what was found of each phrase, perhaps nothing, in the order of the phrases.

        Args:
            image: can be read as a picture, by `images.opened`, also where it lies in an archive.
            phrases: at least one.

        Raises:
            Fault: this picture cannot be used; its row is quarantined and the next one follows.
        """
