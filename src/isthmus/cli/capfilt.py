"""Write captions for your images, and keep those that fit best."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, final

import tyro

from isthmus.cli._console import plain
from isthmus.data.quarantine import QUARANTINE_FILE
from isthmus.data.vetting import MAX_BAD_SHARE

if TYPE_CHECKING:
    from isthmus.evaluation.capfilt import Captioner
    from isthmus.evaluation.judges import Judge


@final
@dataclass(frozen=True)
class Options:
    """Write captions for your images, and keep those that fit best.

    A captioner writes candidates beside the captions that your file has, a judge scores all of
    them, and the best few of each image go into a new file, with their score and source. A run that
    was interrupted goes on with the same command.
    """

    judge: Annotated[str, tyro.conf.Positional]
    """Folder of a model that holds images and texts together, or a CLIP or SigLIP (folder or hub
    id)."""
    data: Path
    """LLaVA JSON or messages JSONL; each answer about an image is a caption of it."""
    output: Path
    """The new data file, JSON lines; its image paths start where those of --data do."""
    image_root: Path | None = None
    """Folder that the image paths of --data start from; the folder of --data when left out."""
    captioner: str | None = None
    """Folder of the model that writes captions; the judge's when left out, if it can write."""
    candidates: int = 10
    """Captions that are written for each image; 0 chooses among those that are there."""
    keep: int = 2
    """Captions of an image that stay."""
    by: Literal["match", "similarity"] = "match"
    """What a judge of ours scores by: the matching head, or the similarity alone."""
    top_p: float = 0.9
    """Words are drawn from the likeliest that make up this probability."""
    max_new_tokens: int = 30
    """Longest caption that is written."""
    max_bad_share: float = MAX_BAD_SHARE
    """Share of rows that may be unusable; they are left out, and named in quarantine.jsonl."""
    seed: int = 0
    """Of the draws."""


def main(arguments: Sequence[str]) -> None:
    """Runs the command."""
    options = tyro.cli(Options, args=arguments, prog="isthmus capfilt")
    from isthmus.cli._model import open_alignment
    from isthmus.data.pairs import pairs_of
    from isthmus.data.vetting import vet
    from isthmus.evaluation.capfilt import Settings, filter_captions

    settings = Settings(
        candidates=options.candidates,
        keep=options.keep,
        top_p=options.top_p,
        max_new_tokens=options.max_new_tokens,
        seed=options.seed,
    )
    if not options.data.is_file():  # it shows before the models are loaded
        raise ValueError(f"the data file {options.data} does not exist")
    root = options.data.parent if options.image_root is None else options.image_root
    console = plain()
    shown = console if console.is_terminal else None
    judge, own = _judge(options.judge, options.by)
    captioner = own if options.captioner is None else open_alignment(options.captioner)
    if captioner is None and settings.candidates:
        raise ValueError(
            f"{options.judge} writes no captions; name a --captioner, or choose among those that "
            "are there with --candidates 0"
        )
    about = {"tried": "to filter captions"}
    vetted = vet(options.data, root, check=pairs_of, about=about, console=shown)
    vetted.write(options.output.parent)
    vetted.check_share(options.max_bad_share)
    counts = filter_captions(
        vetted.samples,
        options.output,
        captioner=captioner,
        judge=judge,
        settings=settings,
        image_root=root.resolve(),
        console=shown,
    )
    console.print(
        f"{sum(counts.values())} captions in {options.output}: {counts['original']} of the file's "
        f"own, {counts['generated']} written"
    )
    if vetted.rejected:
        console.print(
            f"Rows that cannot be used: {len(vetted.rejected)}; "
            f"{options.output.parent / QUARANTINE_FILE} says why."
        )


def _judge(name: str, by: str) -> "tuple[Judge, Captioner | None]":
    """Returns who scores, and the same as who writes, if it can."""
    from isthmus.cli._model import open_alignment, to_accelerator
    from isthmus.evaluation.judges import Matching, Similarity, TwoTowers
    from isthmus.modeling.register import register
    from isthmus.pretrained import read_config

    register()
    if not read_config(name).model_type.startswith("isthmus"):
        towers = TwoTowers.load(name)
        to_accelerator(towers.model)
        return towers, None
    own = open_alignment(name)
    return (Matching if by == "match" else Similarity)(*own), own
