"""The import directions of the house hold, and the contract names every room."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]


def contract() -> list[str]:
    with (REPOSITORY / "pyproject.toml").open("rb") as file:
        contracts = tomllib.load(file)["tool"]["importlinter"]["contracts"]
    return next(c["layers"] for c in contracts if c["type"] == "layers")


def test_every_module_of_the_package_has_a_place() -> None:
    named = {name.strip(" ()") for layer in contract() for name in layer.split("|")}
    package = REPOSITORY / "src" / "isthmus"
    present = {p.stem for p in package.glob("*.py")} | {
        p.name for p in package.iterdir() if p.is_dir() and any(p.glob("*.py"))
    }
    assert present - named - {"__init__"} == set()


@pytest.mark.slow
def test_imports_go_down_never_up() -> None:
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
