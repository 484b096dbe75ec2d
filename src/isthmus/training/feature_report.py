"""What a run found in a feature store, and how far that is from what the tower gives now."""

from dataclasses import asdict, dataclass
from typing import Any, final

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import cosine_similarity

MIN_COSINE = 0.98
"""Where a few patches have features far larger than the others', these may be wrong without a
difference that counts beside the largest; but a wrong patch has a small cosine to the right one."""


@final
@dataclass(frozen=True, kw_only=True)
class Parity:
    """A comparison of stored and fresh features."""

    parity_images: int
    """Images encoded again for comparison."""
    max_abs_difference: float
    """Largest difference between stored and fresh features of these."""
    max_abs_feature: float
    """Largest of the fresh features, to judge the difference by."""
    relative_difference: float
    """The one as a share of the other."""
    min_cosine: float
    """Of the stored and the fresh features of a patch, the least of all patches."""
    tolerance: float
    """Largest relative difference that is no fault, in this number format."""

    @property
    def holds(self) -> bool:
        """Whether the stored features may stand for the fresh ones."""
        return self.relative_difference <= self.tolerance and self.min_cosine >= MIN_COSINE


def parity_of(
    stored: Float[Tensor, "views patches d_vision"],
    fresh: Float[Tensor, "views patches d_vision"],
    *,
    images: int,
    tolerance: float,
) -> Parity:
    """Compares features.

    Args:
        stored: as they are read.
        fresh: as they are computed.
        images: how many images they are of.
        tolerance: largest relative difference that is no fault.
    """
    stored, fresh = stored.float(), fresh.float()
    difference, largest = (stored - fresh).abs().max(), fresh.abs().max()
    # Nothing has no direction; whether it was kept, the difference tells.
    cosine = cosine_similarity(stored, fresh, dim=-1).where(fresh.abs().amax(dim=-1) > 0, 1.0)
    return Parity(
        parity_images=images,
        max_abs_difference=difference.item(),
        max_abs_feature=largest.item(),
        relative_difference=(difference / largest.clamp(min=torch.finfo().tiny)).item(),
        min_cosine=cosine.min().item(),
        tolerance=tolerance,
    )


@final
@dataclass(frozen=True, kw_only=True)
class StoreReport:
    """What a run found in the store, and how true it is."""

    folder: str
    on_disk: str
    """Number format on disk."""
    images: int
    """Distinct images that the run needs."""
    views: int
    """Views of these."""
    bytes: int
    """What these take on disk."""
    new: int
    """Images that the store lacked at first."""
    encoded: int
    """Images that this process encoded; others that filled the store at the time did the rest."""
    evicted: int
    """Shards that this process deleted to keep to the limit."""
    parity: Parity

    def to_dict(self) -> dict[str, Any]:
        """Returns the report as JSON-able values, those of the parity among the others."""
        values = asdict(self)
        return values | values.pop("parity")
