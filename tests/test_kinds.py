"""The folder is the registry."""

from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import pytest

from isthmus import connectors, kinds


def test_kinds_are_the_files_of_the_folder() -> None:
    folder = Path(connectors.__file__).parent
    files = {f.stem for f in folder.glob("*.py") if not f.stem.startswith("_")} - {"base"}
    assert kinds.names("isthmus.connectors") == sorted(files)
    assert {"linear", "mlp", "perceiver_resampler"} <= files


@pytest.mark.parametrize("kind", ["base", "__init__", "MLP", "mlp.py", ""])
def test_only_an_exact_kind_is_loaded(kind: str) -> None:
    with pytest.raises(ValueError, match=r"valid: .*linear, mlp"):
        kinds.load("isthmus.connectors", kind)


def test_an_unknown_kind_names_the_nearest() -> None:
    with pytest.raises(
        ValueError, match="'percever_resampler'; did you mean 'perceiver_resampler'"
    ):
        kinds.load("isthmus.connectors", "percever_resampler")


def test_other_distributions_add_kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    def found(*, group: str) -> EntryPoints:
        # `string` stands for a module of another distribution.
        names = {"string": "string", "wrong": "string"} if group == "isthmus.connectors" else {}
        return EntryPoints(EntryPoint(name, value, group) for name, value in names.items())

    monkeypatch.setattr(kinds, "entry_points", found)
    assert "string" in kinds.names("isthmus.connectors")
    assert kinds.load("isthmus.connectors", "string").__name__ == "string"
    with pytest.raises(ValueError, match="expected a module named 'wrong'"):
        kinds.load("isthmus.connectors", "wrong")
