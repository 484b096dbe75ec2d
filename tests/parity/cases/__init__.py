"""How each published class is computed with ours: one file per project, found by its folder."""

import pkgutil
from collections.abc import Callable, Mapping
from importlib import import_module

from tests.parity.golden import Computed, Golden

Case = Callable[[Golden], Computed]


def cases() -> dict[str, Case]:
    """Returns what computes each published class, by the class's name in the golden files."""
    found: dict[str, Case] = {}
    for module in pkgutil.iter_modules(__path__):
        if not module.name.startswith("_"):
            own: Mapping[str, Case] = import_module(f"{__name__}.{module.name}").CASES
            found |= own
    return found
