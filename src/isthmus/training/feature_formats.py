"""Number formats of stored features, and how far each may be from what the tower gives."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, final

import torch
from jaxtyping import Float
from torch import Tensor

FeatureDtype = Literal["as computed", "bfloat16", "int8"]
"""Names of the formats. int8 has one scale per patch, its largest absolute value over 127."""

_NOISE = {torch.float32: 1e-3, torch.bfloat16: 5e-2}
"""Largest difference, as a share of the largest feature, that arithmetic in another batch size may
make; a wrong feature differs by about 1."""
_ROUNDING = {torch.float32: 0.0, torch.bfloat16: 2.0**-8, torch.int8: 0.5 / 127}
"""Largest difference that writing makes, as a share of the largest feature."""
_LEVELS = 127


@final
@dataclass(frozen=True)
class FeatureFormat:
    """How features are computed, and how they lie on disk."""

    computed: torch.dtype
    on_disk: torch.dtype

    @classmethod
    def of(cls, name: FeatureDtype, computed: torch.dtype) -> "FeatureFormat":
        """Returns a format by its name.

        Args:
            name: of the format.
            computed: number format of the computation.
        """
        return cls(computed, computed if name == "as computed" else getattr(torch, name))

    @property
    def tolerance(self) -> float:
        """Largest difference that is no fault, as a share of the largest feature."""
        return _NOISE[self.computed] + _ROUNDING[self.on_disk]

    def num_bytes(self, num_patches: int, d_vision: int) -> int:
        """Returns the bytes of a view on disk."""
        scale = torch.float32.itemsize if self.on_disk == torch.int8 else 0
        return num_patches * (d_vision * self.on_disk.itemsize + scale)

    def pack(self, features: Float[Tensor, "views patches d_vision"]) -> dict[str, Tensor]:
        """Returns features as the tensors of a shard."""
        features = features.detach().cpu()
        if self.on_disk != torch.int8:
            return {"features": features.to(self.on_disk).contiguous()}
        features = features.float()
        largest = features.abs().amax(dim=-1, keepdim=True)
        scales = (largest / _LEVELS).clamp(min=torch.finfo(torch.float32).tiny)
        return {"features": (features / scales).round().to(torch.int8), "scales": scales}

    def unpack(
        self, tensors: Mapping[str, Tensor], rows: slice
    ) -> Float[Tensor, "views patches d_vision"]:
        """Returns some views of a shard as they are computed with."""
        features = tensors["features"][rows]
        if self.on_disk == torch.int8:
            features = features * tensors["scales"][rows]
        return features.to(self.computed)
