"""Reads a published model as one of ours."""

from pathlib import Path
from typing import Any

import torch

from isthmus import kinds
from isthmus.pretrained import read_config
from isthmus.shipping.from_lavis import LavisSource, import_lavis
from isthmus.shipping.from_transformers import import_generation, import_retrieval
from isthmus.shipping.imported import Imported
from isthmus.shipping.importers import blip2, instructblip

CLASSES = {
    "Blip2ForConditionalGeneration": "blip2",
    "InstructBlipForConditionalGeneration": "instructblip",
    "Blip2ForImageTextRetrieval": "blip2_retrieval",
}
"""Published classes of transformers -> what they are called here."""
MODEL_TYPES = {"blip-2": "blip2", "instructblip": "instructblip"}
"""The same of folders that name no class."""
KINDS = (*CLASSES.values(), "lavis")
"""What can be read."""


def import_model(
    source: str, *, kind: str | None = None, dtype: torch.dtype = torch.float32, **beside: Any
) -> Imported:
    """Returns a published model as one of ours, with its processor.

    Args:
        source: local folder or hub id of a model of transformers; a file of LAVIS.
        kind: one of `KINDS`; told from config.json when None.
        dtype: of all weights.
        **beside: what a file of LAVIS needs, see `LavisSource`.

    Raises:
        ValueError: it is none of these, a weight is missing or of another shape, or something is
            needed beside it, or would be ignored.
    """
    if kind is None and Path(source).is_file():
        raise ValueError(f"{source} is a file; give kind 'lavis', if it is one of LAVIS's")
    kind = kind or kind_of(source)
    if kind not in KINDS:
        raise ValueError(kinds.unknown(kind, list(KINDS), what="kind"))
    if kind == "lavis":
        return import_lavis(LavisSource(file=Path(source), **beside), dtype)
    if given := [name for name, value in beside.items() if value is not None]:
        raise ValueError(
            f"{given[0]} is for files of LAVIS; {source!r} is a {kind!r}: leave it out"
        )
    if kind == "blip2_retrieval":
        return import_retrieval(source, dtype)
    wholes = {"blip2": blip2.GENERATION, "instructblip": instructblip.GENERATION}
    return import_generation(wholes[kind], source, dtype)


def kind_of(source: str) -> str:
    """Returns what a folder or hub id of transformers holds.

    Raises:
        ValueError: nothing that can be read.
    """
    config = read_config(source)
    names = config.architectures or []
    found = next((CLASSES[name] for name in names if name in CLASSES), None)
    if found is None and not names:
        found = MODEL_TYPES.get(config.model_type)
    if found is None:
        raise ValueError(
            f"{source!r} holds a {', '.join(names) or config.model_type}; expected "
            f"{', '.join(CLASSES)}, or a file of LAVIS with kind 'lavis'"
        )
    return found
