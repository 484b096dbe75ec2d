"""Writes a model of ours as one that others read."""

from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import Any

from isthmus import kinds
from isthmus.modeling.modeling_alignment import IsthmusForAlignment
from isthmus.modeling.modeling_isthmus import IsthmusForConditionalGeneration
from isthmus.modeling.processing_alignment import IsthmusAlignmentProcessor
from isthmus.modeling.processing_isthmus import IsthmusProcessor
from isthmus.shipping.imported import check_empty
from isthmus.shipping.importers import blip2, instructblip
from isthmus.shipping.to_lavis import export_first_stage, export_second_stage
from isthmus.shipping.to_qformer import export_qformer
from isthmus.shipping.to_transformers import export_generation, export_retrieval

Notes = tuple[str, ...]
"""Sentences that a user should read."""


def export(
    model: IsthmusForConditionalGeneration | IsthmusForAlignment,
    processor: IsthmusProcessor | IsthmusAlignmentProcessor,
    target: str,
    folder: str | PathLike[str],
) -> Notes:
    """Writes a model as one of `TARGETS`; returns what a user should know.

    Args:
        model: to be written.
        processor: of the model.
        target: what to write.
        folder: that is written; empty, or not there yet.

    Raises:
        ValueError: there is no such target, or it cannot hold the model; the reason is named.
    """
    if target not in TARGETS:
        raise ValueError(kinds.unknown(target, list(TARGETS), what="target"))
    needed, write = TARGETS[target]
    if not isinstance(model, needed):
        raise ValueError(
            f"{target} holds {_what(needed)}, and this model {_what(type(model))}; expected one of "
            f"{', '.join(n for n, (kind, _) in TARGETS.items() if isinstance(model, kind))}"
        )
    return write(model, processor, check_empty(folder))


def _what(kind: Any) -> str:
    answers = kind is IsthmusForConditionalGeneration
    return "a model that answers" if answers else "a model that compares pictures and texts"


def _lavis(model: Any, processor: Any, folder: Path) -> Notes:
    aligns = isinstance(model, IsthmusForAlignment)
    return export_first_stage(model, folder) if aligns else export_second_stage(model, folder)


_BOTH = (IsthmusForConditionalGeneration, IsthmusForAlignment)
TARGETS: dict[str, tuple[Any, Callable[..., Notes]]] = {
    "blip2": (
        IsthmusForConditionalGeneration,
        lambda *what: export_generation(blip2.GENERATION, *what),
    ),
    "instructblip": (
        IsthmusForConditionalGeneration,
        lambda *what: export_generation(instructblip.GENERATION, *what),
    ),
    "blip2_retrieval": (IsthmusForAlignment, export_retrieval),
    "blip2_qformer": (_BOTH, export_qformer),
    "lavis": (_BOTH, _lavis),
}
"""What can be written: of which models, and by what."""
