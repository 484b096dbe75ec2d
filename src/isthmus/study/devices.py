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
    """Dense matrix products in half precision, by the data sheet."""
    memory_gb: float
    share: float = 0.4
    """Of these figures, what a training step gets (unverified; 0.35 to 0.5 is usual)."""
    teraflops_float32: float | None = None
    """Of products in float32; None takes `teraflops`."""

    def __post_init__(self) -> None:
        """Checks the figures.

        Raises:
            ValueError: one is not above 0 or not finite, or the share is above 1.
        """
        figures = (self.teraflops, self._in_float32, self.memory_gb, self.share)
        if not all(0 < figure < inf for figure in figures) or self.share > 1:
            raise ValueError(
                f"the device has {self.teraflops} TFLOPS ({self._in_float32} in float32), "
                f"{self.memory_gb} GB and the share {self.share}; expected finite figures of more "
                "than 0, and a share of 1 at most"
            )

    def rate(self, dtype: str) -> float:
        """Returns the operations of a second that training gets.

        Args:
            dtype: number format of the computation, by torch's name.
        """
        peak = self._in_float32 if dtype == "float32" else self.teraflops
        return peak * 1e12 * self.share

    @property
    def _in_float32(self) -> float:
        return self.teraflops if self.teraflops_float32 is None else self.teraflops_float32


DEVICES = {
    "a100": Device(teraflops=312, memory_gb=80, teraflops_float32=19.5),
    "a100_40gb": Device(teraflops=312, memory_gb=40, teraflops_float32=19.5),
    "h100": Device(teraflops=989, memory_gb=80, teraflops_float32=67),
    "h200": Device(teraflops=989, memory_gb=141, teraflops_float32=67),
    "l40s": Device(teraflops=362, memory_gb=48, teraflops_float32=91.6),
    "rtx_4090": Device(teraflops=165, memory_gb=24, teraflops_float32=82.6),
    "rtx_3090": Device(teraflops=71, memory_gb=24, teraflops_float32=35.6),
    "v100": Device(teraflops=125, memory_gb=32, teraflops_float32=15.7),
    "cpu_core": Device(teraflops=0.05, memory_gb=4, share=0.3),
}
"""Figures of data sheets, in bfloat16 (V100: float16) without sparsity and in float32 without
TensorFloat-32, which torch leaves off; of a CPU's core about what AVX2 gives."""


def device_of(name: str) -> Device:
    """Returns a device of the table, or one in words: `TFLOPS,GB` or `TFLOPS,GB,SHARE`.

    The TFLOPS of one in words are those of the run, whatever its number format.

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
