"""What the package says it exports is what it exports."""

import importlib
import pkgutil
from types import ModuleType

import pytest

import isthmus


def public_packages() -> list[str]:
    found = pkgutil.walk_packages(isthmus.__path__, prefix="isthmus.")
    return ["isthmus", *(module.name for module in found if module.ispkg)]


def order(name: str) -> tuple[int, str]:
    """As the linter sorts: constants, classes, functions."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)


@pytest.mark.parametrize("name", public_packages())
def test_the_list_of_exports_is_sorted_and_resolves(name: str) -> None:
    module = importlib.import_module(name)
    exported = getattr(module, "__all__", [])
    assert list(exported) == sorted(exported, key=order)
    assert [each for each in exported if not hasattr(module, each)] == []


def test_the_package_exports_exactly_its_list() -> None:
    public = {
        name
        for name, value in vars(isthmus).items()
        if not name.startswith("_") and not isinstance(value, ModuleType)
    }
    assert public == {name for name in isthmus.__all__ if not name.startswith("_")}
