"""Which share of what is learned each data set has.

Paper: Honeybee, arXiv 2312.06742, section 4 and tables 5 (balancing) and 12 (tuned shares).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, final

from isthmus.config import Config

Rule = Literal["per_dataset", "per_task", "per_sample", "tuned"]

CAP = 100_000
"""Samples of a data set that count at most. Paper: Honeybee's per-sample-100k."""
HONEYBEE: Mapping[str, float] = {
    "vqav2": 0.103,
    "gqa": 0.103,
    "ocrvqa": 0.051,
    "vsr": 0.026,
    "scienceqa": 0.051,
    "aokvqa": 0.103,
    "coyo100m": 0.077,
    "refcoco": 0.103,
    "refcoco+": 0.103,
    "refcocog": 0.103,
    "vg": 0.051,
    "llava150k": 0.103,
    "sharegpt": 0.026,
}
"""The tuned weights of Honeybee's thirteen data sets. Differs: they add to 1.003, as released."""


@final
@dataclass(frozen=True, kw_only=True)
class Balance(Config):
    """How shares follow from the data sets."""

    rule: Rule = "per_sample"
    """All data sets alike; all tasks alike, and the data sets within each; by their samples; or by
    weights."""
    temperature: float = 1.0
    """Of `per_sample`: sizes to the power of its inverse, so that small data sets gain above 1."""
    cap: int | None = CAP
    """Of `per_sample`: samples of a data set that count at most; None counts all."""
    text_only_share: float | None = None
    """Share of the data sets that show no image, together; the others keep their proportions. None
    treats them like all others."""

    def __post_init__(self) -> None:
        """Checks the numbers.

        Raises:
            ValueError: one is out of range.
        """
        if not self.temperature > 0:
            raise ValueError(f"temperature is {self.temperature}; expected more than 0")
        if self.cap is not None and self.cap < 1:
            raise ValueError(f"cap is {self.cap}; expected 1 or more, or null")
        if self.text_only_share is not None and not 0 <= self.text_only_share <= 1:
            raise ValueError(
                f"text_only_share is {self.text_only_share}; expected a share in [0, 1]"
            )


@final
@dataclass(frozen=True, kw_only=True, slots=True)
class Weighed:
    """What decides the share of a data set."""

    name: str
    size: int
    """Samples."""
    task: str
    weight: float | None = None
    """Given by hand, for the rule `tuned`; Honeybee's where it has one and none is given."""
    text_only: bool = False


def shares(sets: Sequence[Weighed], balance: Balance) -> list[float]:
    """Returns the share of each data set; they add to 1.

    Raises:
        ValueError: a weight is missing, negative, or for another rule, or none is above 0.
    """
    for each in sets:
        if each.weight is not None and balance.rule != "tuned":
            raise ValueError(
                f"the data set {each.name!r} has the weight {each.weight}, which the rule "
                f"{balance.rule!r} ignores; leave it out, or set rule to 'tuned'"
            )
    raw = _raw(sets, balance)
    total = sum(raw)
    if not total > 0:
        raise ValueError(f"the weights of {[each.name for each in sets]} are all 0")
    found = [value / total for value in raw]
    if balance.text_only_share is None:
        return found
    return _with_text_only(found, sets, balance.text_only_share)


def _raw(sets: Sequence[Weighed], balance: Balance) -> list[float]:
    if balance.rule == "per_dataset":
        return [1.0] * len(sets)
    if balance.rule == "per_task":
        num = Counter(each.task for each in sets)
        return [1.0 / num[each.task] for each in sets]
    if balance.rule == "tuned":
        return [_tuned(each) for each in sets]
    cap, power = balance.cap, 1.0 / balance.temperature
    return [(each.size if cap is None else min(each.size, cap)) ** power for each in sets]


def _tuned(each: Weighed) -> float:
    weight = HONEYBEE.get(each.name) if each.weight is None else each.weight
    if weight is None or not weight >= 0:
        raise ValueError(
            f"the data set {each.name!r} has the weight {weight}; expected 0 or more for the rule "
            f"'tuned' (known by name: {', '.join(HONEYBEE)})"
        )
    return weight


def _with_text_only(found: list[float], sets: Sequence[Weighed], share: float) -> list[float]:
    now = sum(value for value, each in zip(found, sets, strict=True) if each.text_only)
    # Nothing can have a share that is not there.
    if (share > 0 and now == 0) or (share < 1 and now == 1):
        there = "none shows no image" if now == 0 else "none shows an image"
        raise ValueError(f"text_only_share is {share}, but of the data sets {there}")
    factors = {
        True: share / now if now else 0.0,
        False: (1 - share) / (1 - now) if now < 1 else 0.0,
    }
    return [value * factors[each.text_only] for value, each in zip(found, sets, strict=True)]
