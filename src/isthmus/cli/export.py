"""Write a trained model as one that transformers or LAVIS reads."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, final

import tyro

from isthmus.cli._console import plain


@final
@dataclass(frozen=True)
class Options:
    """Write a trained model as one that transformers or LAVIS reads.

    A model that the target cannot hold is refused, with the reason.
    """

    model: Annotated[str, tyro.conf.Positional]
    """Folder of a trained model."""
    output: Annotated[Path, tyro.conf.Positional]
    """Folder to write; empty, or not there yet."""
    to: Literal["blip2", "instructblip", "blip2_retrieval", "blip2_qformer", "lavis"]
    """What to write: one of transformers' whole models, its Q-Former alone (of any tower; a new
    model starts from it), or a file of LAVIS."""


def main(arguments: Sequence[str]) -> None:
    """Runs the command."""
    options = tyro.cli(Options, args=arguments, prog="isthmus export")
    from isthmus.cli._quiet import hush_libraries
    from isthmus.modeling.loading import load_any
    from isthmus.shipping.export import export
    from isthmus.shipping.imported import check_empty

    hush_libraries()
    check_empty(options.output)  # it shows before the model is loaded
    model, processor = load_any(options.model)
    console = plain()
    for note in export(model, processor, options.to, options.output):
        console.print(f"Note: {note}.")
    console.print(f"{options.to}: {options.output}")
