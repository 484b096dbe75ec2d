"""Reads a published model as one of ours."""

from pathlib import Path
from typing import Any

import torch

from isthmus import kinds
from isthmus.pretrained import read_config
from isthmus.shipping._qformer_alone import MODEL_TYPE, how_to_start
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
MODEL_TYPES = {"blip2": "blip-2", "instructblip": "instructblip", "blip2_retrieval": "blip-2"}
"""What they are called here -> the type in config.json; the first one of a type is what a folder
holds that names no class."""
KINDS = (*CLASSES.values(), "lavis")
"""What can be read."""


def import_model(
    source: str, *, kind: str | None = None, dtype: torch.dtype = torch.float32, **beside: Any
) -> Imported:
    """Returns a published model as one of ours, with its processor.

    Args:
        source: local folder or hub id of a model of transformers; a file of LAVIS.
        kind: one of `KINDS`; told from config.json when None, which has to agree otherwise.
        dtype: of all weights.
        **beside: what a file of LAVIS needs, see `LavisSource`.

    Raises:
        ValueError: it is none of these, a weight is missing or of another shape, or something is
            needed beside it, or would be ignored.
    """
    if kind is None and Path(source).is_file():
        raise ValueError(f"{source} is a file; give kind 'lavis', if it is one of LAVIS's")
    if kind not in (None, *KINDS):
        raise ValueError(kinds.unknown(str(kind), list(KINDS), what="kind"))
    if kind == "lavis":
        return import_lavis(LavisSource(file=Path(source), **beside), dtype)
    kind = kind_of(source, kind)
    if given := [name for name, value in beside.items() if value is not None]:
        raise ValueError(
            f"{given[0]} is for files of LAVIS; {source!r} is a {kind!r}: leave it out"
        )
    if kind == "blip2_retrieval":
        return import_retrieval(source, dtype)
    wholes = {"blip2": blip2.GENERATION, "instructblip": instructblip.GENERATION}
    return import_generation(wholes[kind], source, dtype)


def kind_of(source: str, asked: str | None = None) -> str:
    """Returns what a folder or hub id of transformers holds.

    Args:
        source: the folder or hub id.
        asked: what it is taken for; it decides where config.json names none of `CLASSES`.

    Raises:
        ValueError: it is nothing that can be read, or not what it is taken for.
    """
    config = read_config(source)
    if config.model_type == MODEL_TYPE:
        raise ValueError(how_to_start(source, config))
    names = config.architectures or []
    found = next((CLASSES[name] for name in names if name in CLASSES), None)
    if found is None:
        fitting = [kind for kind, of in MODEL_TYPES.items() if of == config.model_type]
        if asked in fitting:
            found = asked
        elif fitting and not names:
            found = fitting[0]
    what = ", ".join(names) or config.model_type
    if found is None:
        raise ValueError(
            f"{source!r} holds a {what}; expected {', '.join(CLASSES)}, or a file of LAVIS with "
            "kind 'lavis'"
        )
    if asked not in (None, found):
        raise ValueError(
            f"{source!r} holds a {what}, whose kind is {found!r} and not {asked!r}; leave kind "
            f"out, or give {found!r}"
        )
    return found
