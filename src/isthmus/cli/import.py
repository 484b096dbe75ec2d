"""Bring a published BLIP-2, InstructBLIP or LAVIS checkpoint into an isthmus folder."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, final

import tyro

from isthmus.cli._console import plain


@final
@dataclass(frozen=True)
class Options:
    """Bring a published BLIP-2, InstructBLIP or LAVIS checkpoint into an isthmus folder.

    The folder is read by `isthmus.load`, or by `isthmus.load_alignment` where the model compares
    pictures and texts, and goes back with `isthmus export`.
    """

    source: Annotated[str, tyro.conf.Positional]
    """Folder or hub id of a Blip2ForConditionalGeneration, an InstructBlipForConditionalGeneration
    or a Blip2ForImageTextRetrieval; or a .pth or .safetensors file of LAVIS. From a Q-Former alone,
    a Blip2QFormerModel, `isthmus train --model.connector-start` starts a new model."""
    output: Annotated[Path, tyro.conf.Positional]
    """Folder to write; empty, or not there yet."""
    kind: Literal["blip2", "instructblip", "blip2_retrieval", "lavis"] | None = None
    """What the source is; told from its config.json when left out. A file of LAVIS has none."""
    vision: str | None = None
    """LAVIS: the tower, if the file does not hold it; its eva_vit_g.pth, or a folder or hub id."""
    language: str | None = None
    """LAVIS, second stage: folder or hub id of the language model."""
    text: str | None = None
    """LAVIS, where the Q-Former reads text: folder or hub id of a BERT."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Of the weights that are written."""


def main(arguments: Sequence[str]) -> None:
    """Runs the command."""
    options = tyro.cli(Options, args=arguments, prog="isthmus import")
    import torch

    from isthmus.cli._quiet import hush_libraries
    from isthmus.shipping.import_ import import_model
    from isthmus.shipping.imported import check_empty

    hush_libraries()
    check_empty(options.output)  # it shows before the model is loaded
    imported = import_model(
        options.source,
        kind=options.kind,
        dtype=getattr(torch, options.dtype),
        vision=options.vision,
        language=options.language,
        text=options.text,
    )
    imported.save(options.output)
    console = plain()
    for note in imported.notes:
        console.print(f"Note: {note}.")
    console.print(f"{type(imported.model).__name__}: {options.output}")
