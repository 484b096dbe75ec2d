"""The small file that every checkpoint carries, so that stock tools load it with trust_remote_code.

transformers has no entry point for other packages: nothing imports isthmus on its own. A tool that
was told to trust the code of a checkpoint imports this file, and the file imports isthmus.
"""

from os import PathLike
from pathlib import Path

SHIM_MODULE = "isthmus_shim"
"""Name of the file, without its ending."""

AUTO_MAP = {
    "AutoConfig": f"{SHIM_MODULE}.IsthmusConfig",
    "AutoModel": f"{SHIM_MODULE}.IsthmusModel",
    "AutoModelForImageTextToText": f"{SHIM_MODULE}.IsthmusForConditionalGeneration",
    "AutoModelForMultimodalLM": f"{SHIM_MODULE}.IsthmusForConditionalGeneration",
    "AutoProcessor": f"{SHIM_MODULE}.IsthmusProcessor",
}
"""Which class of the file each Auto class takes."""

ALIGNMENT_AUTO_MAP = {
    "AutoConfig": f"{SHIM_MODULE}.IsthmusAlignmentConfig",
    "AutoModel": f"{SHIM_MODULE}.IsthmusForAlignment",
    "AutoProcessor": f"{SHIM_MODULE}.IsthmusAlignmentProcessor",
}
"""The same of a model that holds pictures and texts together, without a language model."""

SHIM = '''\
"""Lets transformers load this folder with trust_remote_code=True (pip install isthmus)."""

from isthmus import (
    IsthmusAlignmentConfig,
    IsthmusAlignmentProcessor,
    IsthmusConfig,
    IsthmusForAlignment,
    IsthmusForConditionalGeneration,
    IsthmusModel,
    IsthmusProcessor,
)

__all__ = [
    "IsthmusAlignmentConfig",
    "IsthmusAlignmentProcessor",
    "IsthmusConfig",
    "IsthmusForAlignment",
    "IsthmusForConditionalGeneration",
    "IsthmusModel",
    "IsthmusProcessor",
]
'''
"""Text of the file."""


def write_shim(directory: str | PathLike[str]) -> None:
    """Writes the file into the folder of a checkpoint."""
    folder = Path(directory)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{SHIM_MODULE}.py").write_text(SHIM, encoding="utf-8")
