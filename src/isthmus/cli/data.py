"""Look at a data file before you train on it: what it holds, and what is wrong with it."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro

from isthmus.cli._console import plain

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
    `usable`, and `quarantined` by reason), quarantine.jsonl with each row that cannot be used, and
    check.html.

    Args:
        file: LLaVA JSON or messages JSONL.
        output: Folder for what is found; made when it does not exist.
        image_root: Folder that the image paths start from; the folder of the file when left out.
    """
    from isthmus.data.check import check as look
    from isthmus.data.vetting import QUARANTINE_FILE
    from isthmus.report.data_page import DATA_PAGE_FILE, data_page, write_data_page

    console = plain()
    root = file.parent if image_root is None else image_root
    checked = look(file, root, console=console if console.is_terminal else None)
    output.mkdir(parents=True, exist_ok=True)
    (output / QUARANTINE_FILE).write_text("", encoding="utf-8")
    checked.vetted.write(output)
    text = json.dumps(checked.census.to_dict(), indent=2)
    (output / CHECK_FILE).write_text(f"{text}\n", encoding="utf-8")
    write_data_page(data_page(checked, file), output / DATA_PAGE_FILE)
    census = checked.census
    console.print(f"{census.usable} of {census.seen} rows of {file} can be used.")
    for reason, count in census.quarantined.items():
        console.print(f"  {reason}: {count}")
    console.print(
        f"The counts are in {output / CHECK_FILE}, pictures in {output / DATA_PAGE_FILE}."
    )


def main(arguments: Sequence[str]) -> None:
    """Runs the command."""
    tyro.extras.subcommand_cli_from_dict(
        {"check": check},
        args=list(arguments),
        prog="isthmus data",
        description="Look at a data file before you train on it.",
    )
