"""Export scenes of the embedded world, build its towers, or list them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import tyro
from rich.console import Console

from isthmus.cli._console import plain
from isthmus.data.cache import cache_root


def export(
    directory: Annotated[Path, tyro.conf.Positional],
    /,
    *,
    split: Literal["train", "val", "test", "compositional"],
    num: int,
    seed: int = 0,
    turns: int | None = None,
    task: tuple[str, ...] = (),
) -> None:
    """Write images and conversations to disk, as messages.jsonl and as llava.json.

    Args:
        directory: Where to; made when it does not exist. It is also the image root.
        split: Which scenes; splits share none.
        num: Number of conversations.
        seed: Another seed gives other scenes of the split.
        turns: Questions about a scene; 6 in train and 1 elsewhere when left out.
        task: Tasks to draw from; all but those of clips and styles when left out.
    """
    from rich.progress import Progress

    from isthmus.microworld.export import export as write

    console = Console()
    with Progress(console=console, disable=not console.is_terminal) as bar:
        row = bar.add_task(f"{split} scenes", total=num)
        write(
            directory,
            split=split,
            num=num,
            seed=seed,
            turns=turns,
            tasks=task,
            on_row=lambda: bar.advance(row),
        )
    plain().print(f"{num} conversations in {directory}: messages.jsonl, llava.json, images/")


def build(
    *, only: tuple[str, ...] = (), weights: Path | None = None, work: Path | None = None
) -> None:
    """Pretrain the towers from scratch; the same command goes on where an earlier one stopped.

    Args:
        only: Names of the towers to build; all when left out.
        weights: Folder that gets a folder per tower; the installed package's own when left out.
        work: Folder of the resumable checkpoints; in the user's cache when left out.
    """
    from isthmus.microworld import towers
    from isthmus.microworld.towers.build import build as pretrain

    pretrain(
        weights or Path(towers.__file__).parent / "weights",
        work or cache_root() / "microworld",
        plain(),
        only,
    )


def towers() -> None:
    """List the towers of this installation and their folders; provenance.json there has scores."""
    from isthmus.microworld import towers as installed

    for name in installed.names():
        folder = installed.path(name)
        facts = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))
        plain().print(f"microworld:{name}  {facts['parameters']:,} parameters  {folder}")


def main(arguments: Sequence[str]) -> None:
    """Runs the command."""
    tyro.extras.subcommand_cli_from_dict(
        {"export": export, "build": build, "towers": towers},
        args=list(arguments),
        prog="isthmus microworld",
        description="Export scenes of the embedded world, build its towers, or list them.",
    )
