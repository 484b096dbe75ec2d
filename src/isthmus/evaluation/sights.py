"""What a tower sees of image files: kept while there is room, so that each is looked at once."""

from collections.abc import Sequence
from pathlib import Path
from typing import final

import torch
from torch import Tensor

from isthmus.data.views import read_views
from isthmus.modeling.alignment import SeenImages
from isthmus.modeling.modeling_alignment import IsthmusForAlignment
from isthmus.modeling.processing_alignment import IsthmusAlignmentProcessor

ROOM = 4 << 30
"""Bytes that what was seen may take: 2,900 images of ViT-g at 224 pixels in float32."""


@final
class Sights:
    """Image files as a model sees them."""

    def __init__(
        self,
        model: IsthmusForAlignment,
        processor: IsthmusAlignmentProcessor,
        *,
        room: int = 0,
    ) -> None:
        """Has seen nothing yet.

        Args:
            model: that sees.
            processor: of the model.
            room: bytes of memory for what the tower saw; an image for which there is none left is
                looked at again when it is asked for again.
        """
        self._model, self._processor, self._room = model, processor, room
        self._kept: dict[Path, Tensor] = {}

    def __call__(self, paths: Sequence[Path]) -> SeenImages:
        """Returns what images answer to the queries.

        Raises:
            Fault: a file is no image that can be read.
        """
        new = [path for path in dict.fromkeys(paths) if path not in self._kept]
        seen = dict(zip(new, self._look(new), strict=True)) if new else {}
        device = self._model.device
        states = [
            self._kept[path].to(device) if path in self._kept else seen[path] for path in paths
        ]
        for path, each in seen.items():
            self._keep(path, each)
        return self._model.see(torch.stack(states))

    def _look(self, paths: Sequence[Path]) -> Tensor:
        pixels = torch.cat([read_views(path, self._processor) for path in paths])
        return self._model.encode_images(pixels.to(self._model.device)).states

    def _keep(self, path: Path, states: Tensor) -> None:
        if states.nbytes <= self._room:
            self._room -= states.nbytes
            self._kept[path] = states.to("cpu", copy=True)
