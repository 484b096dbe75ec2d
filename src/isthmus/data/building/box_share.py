"""Which rows stay so that most images have two boxes or more.

A row with few boxes stays or goes by a number drawn from the seed and its id alone. So the choice
does not depend on the order of the rows, nor on the machine that makes it.
"""

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from hashlib import sha256
from typing import Literal, final

Verdict = Literal["kept", "no_box", "over_share"]

_DRAWS = 2**64


@final
@dataclass(frozen=True, kw_only=True)
class BoxShare:
    """A choice among rows."""

    boxes: int
    """A row with so many boxes always stays."""
    seed: int
    bound: int
    """A row with fewer boxes stays when its draw is below this. Units: 0 to 2**64."""
    counts: dict[Verdict, int]
    """Rows of the plan by what becomes of them."""
    share: float | None
    """Share of the rows kept that have so many boxes; None where none is kept."""

    def verdict(self, name: str, num_boxes: int) -> Verdict:
        """Returns what becomes of a row, by its id and number of boxes."""
        if num_boxes == 0:
            return "no_box"
        is_kept = num_boxes >= self.boxes or _draw(self.seed, name) < self.bound
        return "kept" if is_kept else "over_share"


def plan_box_share(
    rows: Iterable[tuple[str, int]], *, share: float = 0.75, boxes: int = 2, seed: int = 0
) -> BoxShare:
    """Returns the choice that keeps as many rows as the share of well-boxed ones allows.

    All rows with enough boxes stay. Of those with fewer, as many stay as leave the share; of rows
    that have one id either all stay or none. A row without a box is no grounded caption and goes.

    Paper: CogVLM, arXiv 2311.03079, section 2.2: at least 75 % of the images have two boxes or
        more.

    Args:
        rows: id and number of boxes of each.
        share: least share of the kept rows that have `boxes` boxes or more.
        boxes: how many are enough.
        seed: source of chance.

    Raises:
        ValueError: the share is not above 0 and at most 1, or one box is enough.
    """
    if not 0 < share <= 1:
        raise ValueError(f"share is {share}; expected more than 0 and at most 1")
    if boxes < 2:
        raise ValueError(f"boxes is {boxes}; expected 2 or more, since every row kept has one")
    num_rich, num_bare, draws = 0, 0, []
    for name, num_boxes in rows:
        if num_boxes >= boxes:
            num_rich += 1
        elif num_boxes:
            draws.append(_draw(seed, name))
        else:
            num_bare += 1
    draws.sort()
    exact = Fraction(str(share))  # 0.9 as it is written; its nearest double is a little more
    room = int(num_rich * (1 - exact) / exact)
    bound = draws[room] if room < len(draws) else _DRAWS
    num_poor = bisect_left(draws, bound)
    return BoxShare(
        boxes=boxes,
        seed=seed,
        bound=bound,
        counts={
            "kept": num_rich + num_poor,
            "no_box": num_bare,
            "over_share": len(draws) - num_poor,
        },
        share=num_rich / (num_rich + num_poor) if num_rich + num_poor else None,
    )


def _draw(seed: int, name: str) -> int:
    return int.from_bytes(sha256(f"box share/{seed}/{name}".encode()).digest()[:8], "big")
