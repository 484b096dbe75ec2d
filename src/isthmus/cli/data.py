"""Look at a data file before you train on it, or make one with boxes of what captions name."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro
from rich.console import Console

from isthmus.cli._console import plain

if TYPE_CHECKING:
    from isthmus.data.check import Checked

CHECK_FILE = "check.json"


def check(
    file: Annotated[Path, tyro.conf.Positional],
    /,
    *,
    output: Path,
    image_root: Path | None = None,
) -> None:
    """Read every row and image; count what is there and what is wrong, and show it on a page.

    It never stops at a share of bad rows. The folder gets check.json with all counts (`seen`,
    `usable`, `filtered` and `quarantined` by reason), quarantine.jsonl with each row that cannot be
    used, and check.html. Of a mixture, each data set has a folder of its own in it.

    Args:
        file: LLaVA JSON or messages JSONL, or a YAML file that describes a mixture.
        output: Folder for what is found; made when it does not exist.
        image_root: Folder that the image paths start from; the folder of the file when left out.
    """
    from isthmus.cli._recipe import is_mixture
    from isthmus.data.check import check as look
    from isthmus.data.check import check_dataset
    from isthmus.data.mixture.dataset import open_dataset
    from isthmus.data.mixture.file import read_mixture

    console = plain()
    bar = console if console.is_terminal else None
    if not is_mixture(file, image_root):
        root = file.parent if image_root is None else image_root
        _write(look(file, root, console=bar), str(file), output, console)
        return
    mixture = read_mixture(file)
    for entry in mixture.entries:
        dataset = open_dataset(mixture, entry, file.parent)
        checked = check_dataset(dataset, console=bar)
        _write(checked, f"{entry.name} in {file}", output / entry.name, console)


def _write(checked: "Checked", title: str, folder: Path, console: Console) -> None:
    from isthmus.data.quarantine import QUARANTINE_FILE
    from isthmus.report.data_page import DATA_PAGE_FILE, data_page, write_data_page

    folder.mkdir(parents=True, exist_ok=True)
    (folder / QUARANTINE_FILE).write_text("", encoding="utf-8")
    checked.vetted.write(folder)
    text = json.dumps(checked.census.to_dict(), indent=2)
    (folder / CHECK_FILE).write_text(f"{text}\n", encoding="utf-8")
    write_data_page(data_page(checked, title), folder / DATA_PAGE_FILE)
    census = checked.census
    console.print(f"{census.usable} of {census.seen} rows of {title} can be used.")
    for reason, count in census.quarantined.items():
        console.print(f"  {reason}: {count}")
    for reason, count in census.filtered.items():
        console.print(f"  not asked for by {reason}: {count}")
    console.print(
        f"The counts are in {folder / CHECK_FILE}, pictures in {folder / DATA_PAGE_FILE}."
    )


def ground(
    file: Annotated[Path, tyro.conf.Positional],
    /,
    *,
    output: Path,
    detector: str,
    image_root: Path | None = None,
    filters: Literal["none", "coyo", "laion"] = "none",
    id_column: str = "id",
    image_column: str = "image",
    caption_column: str = "caption",
    least_score: float = 0.2,
    share: float = 0.75,
    boxes: int = 2,
    seed: int = 0,
    device: str = "cpu",
) -> None:
    """Write captions with the boxes of what they name, as CogVLM's grounded pre-training data.

    Noun phrases of each caption are looked for in its image; a phrase that is found gets its boxes
    behind it. The new file is messages JSONL, with a provenance beside it that counts every row. A
    run that was interrupted goes on with the same command.

    Args:
        file: A table, JSON lines or a JSON array; each row has an image and a caption.
        output: The new data file, JSON lines.
        detector: Folder or hub id of an OWL-ViT or OWLv2.
        image_root: Folder that the image paths start from; the folder of the file when left out.
        filters: Rules for tables with the columns of COYO-700M or LAION.
        id_column: Where a row has its id; its number when it has none.
        image_column: Where a row has its image.
        caption_column: Where a row has its caption.
        least_score: Detections that are less sure are dropped.
        share: Least share of the images that have so many boxes or more; of the others as many are
            kept as leave it.
        boxes: So many.
        seed: Of the choice among images with fewer.
        device: Where the detector computes, such as cuda.
    """
    from isthmus.cli._quiet import hush_libraries
    from isthmus.data.building.filters import COYO, LAION
    from isthmus.data.building.grounded import Columns, Settings, build
    from isthmus.data.building.grounding import Limits
    from isthmus.data.building.phrases import ClosedClassPhrases
    from isthmus.data.building.rows import MetadataRows
    from isthmus.evaluation.owl import OwlDetector

    console = plain()
    settings = Settings(
        columns=Columns(id=id_column, image=image_column, caption=caption_column),
        filters={"none": (), "coyo": COYO, "laion": LAION}[filters],
        limits=Limits(least_score=least_score),
        share=share,
        boxes=boxes,
        seed=seed,
    )
    rows = MetadataRows(file, id_column=id_column)
    hush_libraries()
    built = build(
        rows,
        ClosedClassPhrases(),
        OwlDetector(detector, least_score=least_score, device=device),
        output,
        image_root=file.parent if image_root is None else image_root,
        settings=settings,
        console=console if console.is_terminal else None,
    )
    console.print(f"{built.kept} of {built.seen} rows have grounded captions, in {output}.")
    for why in (built.filtered, built.quarantined, built.dropped):
        for reason, count in why.items():
            console.print(f"  {reason}: {count}")
    if rows.unread:
        console.print(f"  no objects, passed over: {rows.unread}")
    if built.share is not None:
        console.print(f"{100 * built.share:.0f} % of them have {boxes} boxes or more.")


def main(arguments: Sequence[str]) -> None:
    """Runs the command."""
    tyro.extras.subcommand_cli_from_dict(
        {"check": check, "ground": ground},
        args=list(arguments),
        prog="isthmus data",
        description="Look at a data file before you train on it, or make one of grounded captions.",
    )
