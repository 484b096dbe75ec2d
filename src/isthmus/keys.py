"""Two names for each weight: the published one and ours."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

Pair = tuple[str, str]
"""Published name, our name; `*` stands for one and the same part between dots in both, `**` for
one or more of them."""
Stack = tuple[str, tuple[str, ...]]
"""Name of a whole, as the pairs have it, and the published names of its parts, from the top; a `*`
stands for the same in all of them."""


@final
@dataclass(frozen=True)
class KeyMap:
    """Renames the weights of a published layout, there and back."""

    pairs: tuple[Pair, ...]
    """The first pair that fits a name renames it."""
    ignored: tuple[str, ...] = ()
    """Published names that hold nothing to load, such as buffers that follow from the settings."""
    stacked: tuple[Stack, ...] = ()
    """Matrices that the layout keeps in equal parts and ours holds as one."""

    def to_ours(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Returns published weights under our names.

        Raises:
            ValueError: a name is not known, or a part of a stacked matrix is missing.
        """
        kept = {name: value for name, value in weights.items() if not fits(self.ignored, name)}
        return _renamed(_joined(kept, self.stacked), self.pairs)

    def to_theirs(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Returns weights of ours under the published names.

        Raises:
            ValueError: a name is not known.
        """
        back = [(ours, theirs) for theirs, ours in self.pairs]
        return _parted(_renamed(weights, back), self.stacked)


def _renamed(weights: Mapping[str, Tensor], pairs: Iterable[Pair]) -> dict[str, Tensor]:
    rules = [(_pattern(old), new) for old, new in pairs]
    renamed = {}
    for name, value in weights.items():
        for old, new in rules:
            if found := old.fullmatch(name):
                renamed[_filled(new, found.groups())] = value
                break
        else:
            raise ValueError(
                f"the weight {name!r} has no place in this layout; it knows "
                f"{', '.join(old.pattern for old, _ in rules)}"
            )
    return renamed


def _joined(weights: Mapping[str, Tensor], stacked: Iterable[Stack]) -> dict[str, Tensor]:
    joined = dict(weights)
    for whole, parts in stacked:
        for found in filter(None, map(_pattern(parts[0]).fullmatch, weights)):
            names = [_filled(part, found.groups()) for part in parts]
            if missing := [name for name in names if name not in weights]:
                raise ValueError(f"beside {names[0]!r} the weights lack {', '.join(missing)}")
            joined[_filled(whole, found.groups())] = torch.cat([joined.pop(name) for name in names])
    return joined


def _parted(weights: Mapping[str, Tensor], stacked: Iterable[Stack]) -> dict[str, Tensor]:
    parted = dict(weights)
    for whole, parts in stacked:
        for found in filter(None, map(_pattern(whole).fullmatch, weights)):
            values = parted.pop(found.string).chunk(len(parts))
            names = (_filled(part, found.groups()) for part in parts)
            parted |= dict(zip(names, values, strict=True))
    return parted


def _filled(name: str, parts: Iterable[str]) -> str:
    for part in parts:
        name = re.sub(r"\*\*?", part, name, count=1)
    return name


def _pattern(name: str) -> re.Pattern[str]:
    kinds = {"**": "(.+)", "*": r"([^.]+)"}
    parts = re.split(r"(\*\*?)", name)
    return re.compile("".join(kinds.get(part, re.escape(part)) for part in parts))


def fits(names: Iterable[str], name: str) -> bool:
    """Tells whether a name is one of several, in which `*` and `**` stand for parts."""
    return any(_pattern(each).fullmatch(name) for each in names)
