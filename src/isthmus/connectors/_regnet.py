"""The bottleneck block of RegNet with squeeze-and-excitation, on maps whose channels come last."""

from collections import OrderedDict
from typing import final

from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import silu

SQUEEZE_RATIO = 0.25
"""Width of the squeeze, in channels of the block's input."""


@final
class RegNetBlock(nn.Module):
    """Mixes the channels of each cell, then each channel with its neighbours, then channels again.

    A gate per channel, read from the whole map, stands before the last mixing; a shortcut goes
    around all of it.

    Paper: RegNet, arXiv 2003.13678, as Honeybee, arXiv 2312.06742, has it in its code: one channel
    per group, and layer norms over the channels.
    Shape: (images, rows, columns, before) -> (images, rows, columns, after).
    Differs: the 1x1 convolutions are linear maps of the last axis, the same numbers, faster on a
    CPU.
    """

    def __init__(self, before: int, after: int) -> None:
        """Builds the block; the shortcut has weights where the width changes."""
        super().__init__()
        squeezed = max(1, round(SQUEEZE_RATIO * before))
        self.mix_1 = nn.Linear(before, after, bias=False)
        self.norm_1 = nn.LayerNorm(after)
        self.depthwise = nn.Conv2d(after, after, 3, padding=1, groups=after, bias=False)
        self.norm_2 = nn.LayerNorm(after)
        self.squeeze = nn.Linear(after, squeezed)
        self.excite = nn.Linear(squeezed, after)
        self.mix_2 = nn.Linear(after, after, bias=False)
        self.norm_3 = nn.LayerNorm(after)
        self.shortcut: nn.Module = nn.Identity()
        if before != after:
            layers = (
                ("mix", nn.Linear(before, after, bias=False)),
                ("norm", nn.LayerNorm(after)),
            )
            self.shortcut = nn.Sequential(OrderedDict[str, nn.Module](layers))

    def forward(self, maps: Float[Tensor, "images _ _ _"]) -> Float[Tensor, "images _ _ _"]:
        """Returns the maps after this block."""
        hidden = silu(self.norm_1(self.mix_1(maps)))
        hidden = self.depthwise(rearrange(hidden, "i r c d -> i d r c"))
        hidden = silu(self.norm_2(rearrange(hidden, "i d r c -> i r c d")))
        gate = self.excite(silu(self.squeeze(hidden.mean(dim=(1, 2), keepdim=True))))
        hidden = self.norm_3(self.mix_2(hidden * gate.sigmoid()))
        return silu(hidden + self.shortcut(maps))


def stage(depth: int, before: int, after: int) -> nn.Sequential:
    """Returns `depth` blocks in a row, the first of which may change the width."""
    widths = [before, *[after] * depth]
    blocks = {
        f"block_{index + 1}": RegNetBlock(widths[index], widths[index + 1])
        for index in range(depth)
    }
    return nn.Sequential(OrderedDict(blocks))
