"""What devices can do, for `plan`; published figures, and what training gets of them."""

from dataclasses import dataclass
from math import inf
from typing import final

from isthmus.config import Config
from isthmus.kinds import unknown


@final
@dataclass(frozen=True, kw_only=True)
class Device(Config):
    """A device that computes."""

    teraflops: float
    """Dense matrix products in the number format of the run, by the data sheet."""
    memory_gb: float
    share: float = 0.4
    """Of `teraflops`, what a training step gets (unverified; 0.35 to 0.5 is usual)."""

    def __post_init__(self) -> None:
        """Checks the figures.

        Raises:
            ValueError: one is not above 0 or not finite, or the share is above 1.
        """
        figures = (self.teraflops, self.memory_gb, self.share)
        if not all(0 < figure < inf for figure in figures) or self.share > 1:
            raise ValueError(
                f"the device has {self.teraflops} TFLOPS, {self.memory_gb} GB and the share "
                f"{self.share}; expected finite figures of more than 0, and a share of 1 at most"
            )


DEVICES = {
    "a100": Device(teraflops=312, memory_gb=80),
    "a100_40gb": Device(teraflops=312, memory_gb=40),
    "h100": Device(teraflops=989, memory_gb=80),
    "h200": Device(teraflops=989, memory_gb=141),
    "l40s": Device(teraflops=362, memory_gb=48),
    "rtx_4090": Device(teraflops=165, memory_gb=24),
    "rtx_3090": Device(teraflops=71, memory_gb=24),
    "v100": Device(teraflops=125, memory_gb=32),
    "cpu_core": Device(teraflops=0.05, memory_gb=4, share=0.3),
}
"""Figures of data sheets, in bfloat16 (V100: float16) without sparsity; of a CPU's core about what
AVX2 gives."""


def device_of(name: str) -> Device:
    """Returns a device of the table, or one in words: `TFLOPS,GB` or `TFLOPS,GB,SHARE`.

    Raises:
        ValueError: it is neither.
    """
    if name in DEVICES:
        return DEVICES[name]
    try:
        figures = [float(each) for each in name.split(",")]
    except ValueError:
        figures = []
    if len(figures) not in (2, 3):
        raise ValueError(
            unknown(name, list(DEVICES), what="device") + "; or give its figures, as 312,80 or "
            "312,80,0.4: TFLOPS, GB and the share of them that training gets"
        )
    return Device(**dict(zip(("teraflops", "memory_gb", "share"), figures, strict=False)))
