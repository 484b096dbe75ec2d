"""Look at a data file before you train on it: what it holds, and what is wrong with it."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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


def main(arguments: Sequence[str]) -> None:
    """Runs the command."""
    tyro.extras.subcommand_cli_from_dict(
        {"check": check},
        args=list(arguments),
        prog="isthmus data",
        description="Look at a data file before you train on it.",
    )
