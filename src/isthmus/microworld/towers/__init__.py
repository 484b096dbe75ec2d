"""The pretrained towers of the microworld: folders that `from_pretrained` reads like any other."""

from pathlib import Path

PREFIX = "microworld:"
"""What stands before the name of a tower of ours, where hub ids and folders may stand, too."""

_WEIGHTS = Path(__file__).parent / "weights"


def names() -> list[str]:
    """The towers that this installation holds."""
    return sorted(folder.name for folder in _WEIGHTS.iterdir() if (folder / "config.json").exists())


def path(name: str) -> Path:
    """The folder of a tower, for `from_pretrained`.

    Raises:
        ValueError: For a tower that this installation does not hold.
    """
    if name not in names():
        held = ", ".join(names()) or "none; build them with `isthmus microworld build`"
        raise ValueError(f"unknown microworld tower {name!r}; there are: {held}")
    return _WEIGHTS / name


def located(tower: str) -> str:
    """Returns what `from_pretrained` takes: `microworld:NAME` is a folder of ours, others stay.

    Raises:
        ValueError: for a tower that this installation does not hold.
    """
    return str(path(tower.removeprefix(PREFIX))) if tower.startswith(PREFIX) else tower
