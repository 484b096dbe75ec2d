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
    from isthmus.evaluation.judges import Judge
    from isthmus.evaluation.writers import Captioner


OF_WRITING = ("captioner", "top_p", "max_new_tokens", "prompt", "seed")
"""Settings that decide what is written."""


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
    """Folder of the model that writes captions: one that holds images and texts together, or one
    that answers; the judge's when left out, if it can write."""
    candidates: int = 10
    """Captions that are written for each image; 0 chooses among those that are there."""
    keep: int = 2
    """Captions of an image that stay."""
    by: Literal["match", "similarity"] | None = None
    """What the judge scores by: the matching head, or the similarity alone; when left out, the head
    where there is one. A CLIP or SigLIP has none."""
    top_p: float = 0.9
    """Words are drawn from the likeliest that make up this probability."""
    max_new_tokens: int = 30
    """Longest caption that is written; one that is not at its end by then is left out."""
    prompt: str = ""
    """What a captioner that answers is asked beside the image, as it has learned to be: `a photo
    of`; the image alone when left out."""
    max_bad_share: float = MAX_BAD_SHARE
    """Share of rows that may be unusable; they are left out, and named in quarantine.jsonl."""
    seed: int = 0
    """Of the draws."""


def main(arguments: Sequence[str]) -> None:
    """Runs the command."""
    options = tyro.cli(Options, args=arguments, prog="isthmus capfilt")
    from isthmus.data.pairs import pairs_of
    from isthmus.data.vetting import vet
    from isthmus.evaluation.capfilt import Settings, checked_writer, filter_captions
    from isthmus.evaluation.settings import check_unused

    settings = Settings(
        candidates=options.candidates,
        keep=options.keep,
        top_p=options.top_p,
        max_new_tokens=options.max_new_tokens,
        prompt=options.prompt,
        seed=options.seed,
    )
    if not settings.candidates:
        check_unused(options, OF_WRITING, "with --candidates 0 no caption is written")
    if not options.data.is_file():  # it shows before the models are loaded
        raise ValueError(f"the data file {options.data} does not exist")
    root = options.data.parent if options.image_root is None else options.image_root
    console = plain()
    shown = console if console.is_terminal else None
    judge, own = _judge(options)
    captioner = _captioner(options, own) if settings.candidates else None
    checked_writer(captioner, settings)  # before rows are tried, which takes long
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
        f"{counts.original + counts.generated} captions in {options.output}: {counts.original} of "
        f"the file's own, {counts.generated} written"
    )
    if counts.cut:
        console.print(
            f"{counts.cut} captions came to no end and were left out; --max-new-tokens gives more "
            "room."
        )
    if vetted.rejected:
        console.print(
            f"Rows that cannot be used: {len(vetted.rejected)}; "
            f"{options.output.parent / QUARANTINE_FILE} says why."
        )


def _judge(options: Options) -> "tuple[Judge, Captioner | None]":
    """Returns who scores, and the same as who writes, if it can."""
    from isthmus.cli._model import open_alignment, to_accelerator
    from isthmus.evaluation.judges import Matching, Similarity, TwoTowers
    from isthmus.modeling.configuration_alignment import IsthmusAlignmentConfig
    from isthmus.modeling.loading import kind_of
    from isthmus.modeling.register import register
    from isthmus.pretrained import read_config

    register()
    if not read_config(options.judge).model_type.startswith("isthmus"):
        towers = TwoTowers.load(options.judge)
        if options.by == "match":
            raise ValueError(
                f"--by match asks for a matching head, and {options.judge} has two towers alone; "
                "leave it out, or name a model that holds images and texts together"
            )
        to_accelerator(towers.model)
        return towers, None
    if kind_of(options.judge) is not IsthmusAlignmentConfig:
        raise ValueError(
            f"the judge {options.judge} is a model that answers, and can't tell how well captions "
            "fit; name one that holds images and texts together (such as `isthmus train "
            "microworld.blip2_alignment` makes), or a CLIP or SigLIP, and this one as --captioner"
        )
    own = open_alignment(options.judge)
    return (Similarity if options.by == "similarity" else Matching)(*own), own


def _captioner(options: Options, own: "Captioner | None") -> "Captioner":
    """Returns who writes."""
    from isthmus.cli._model import open_alignment, open_model
    from isthmus.modeling.configuration_alignment import IsthmusAlignmentConfig
    from isthmus.modeling.loading import kind_of

    if options.captioner is None:
        if own is None:
            raise ValueError(
                f"{options.judge} writes no captions; name a --captioner, or choose among those "
                "that are there with --candidates 0"
            )
        return own
    try:
        kind = kind_of(options.captioner)
    except ValueError as error:
        raise ValueError(
            f"the captioner {options.captioner} can't be used ({error}); name the folder of a "
            "model of ours that writes captions: one that answers, or one that holds images and "
            "texts together"
        ) from error
    if kind is IsthmusAlignmentConfig:
        return open_alignment(options.captioner)
    return open_model(options.captioner)
