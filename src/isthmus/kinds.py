"""The folder is the registry: the modules of a package are its kinds.

A kind is the name of a module: exact match, imported on demand. Modules whose name starts with an
underscore are shared parts, and `base` holds the contract; neither is a kind. Other distributions
add kinds through an entry point whose group is the package's dotted name, and whose name equals
that of the module it points to.
"""

import pkgutil
from difflib import get_close_matches
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType

CONTRACT_MODULE = "base"
"""Module of a kinds package that holds the contract."""


def names(package: str) -> list[str]:
    """Returns the kinds of a package, sorted.

    Args:
        package: dotted name, such as `isthmus.connectors`.
    """
    return sorted({*_own(package), *_foreign(package)})


def load(package: str, kind: str) -> ModuleType:
    """Imports the module of a kind.

    Args:
        package: dotted name, such as `isthmus.connectors`.
        kind: one of `names(package)`.

    Raises:
        ValueError: the package has no such kind.
    """
    if kind in _own(package):
        return import_module(f"{package}.{kind}")
    foreign = _foreign(package)
    if kind not in foreign:
        raise ValueError(unknown(kind, names(package), what=f"kind of {package}"))
    module = foreign[kind].load()
    if not isinstance(module, ModuleType) or module.__name__.rpartition(".")[2] != kind:
        raise ValueError(
            f"the entry point {kind!r} of group {package!r} points to {foreign[kind].value!r}; "
            f"expected a module named {kind!r}, since the module's name is the kind"
        )
    return module


def unknown(name: str, valid: list[str], *, what: str, listed: list[str] | None = None) -> str:
    """Returns the sentence that refuses an unknown name, with the nearest valid one.

    Args:
        name: that is not known.
        valid: names that are.
        what: they name.
        listed: what the sentence lists in place of all of them, where they are many.
    """
    nearest = get_close_matches(str(name), valid, n=1, cutoff=0.5)
    hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
    return f"unknown {what} {name!r}{hint} (valid: {', '.join(listed or valid) or 'none'})"


def _own(package: str) -> list[str]:
    found = pkgutil.iter_modules(import_module(package).__path__)
    return [m.name for m in found if not m.name.startswith("_") and m.name != CONTRACT_MODULE]


def _foreign(package: str) -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=package)}
