"""What `isthmus eval` asks about: the conversations of a file, or those that a mixture makes."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from isthmus.data.mixture.dataset import open_dataset
from isthmus.data.mixture.file import Mixture
from isthmus.data.mixture.usable import usable
from isthmus.data.vetting import Check, Vetted, vet


def vet_asked(
    file: Path,
    image_root: Path,
    mixture: Mixture | None,
    *,
    check: Check,
    about: Mapping[str, Any],
    max_bad_share: float,
    output: Path,
    console: Console | None,
) -> Vetted:
    """Tries every row, as `vet` does; what cannot be used is named in the folder of the output.

    Args:
        file: of the conversations, or of the mixture.
        image_root: folder in which the images of conversations lie.
        mixture: that the file describes, if it does; the task of a sample is its data set then.
        check: tries what is asked of a sample beyond its images.
        about: all that decides the verdict of `check`.
        max_bad_share: share of the rows of a data set that may be faulty.
        output: folder of the result.
        console: where a bar shows how far it is.

    Raises:
        ValueError: a larger share is faulty, or no row is left.
    """
    if mixture is None:
        found = [vet(file, image_root, check=check, about=about, console=console)]
    else:
        found = []
        for entry in mixture.entries:
            dataset = open_dataset(mixture, entry, file.parent)
            vetted = usable(dataset, check=check, about=about, console=console).vetted(dataset)
            samples = [replace(sample, task=entry.name) for sample in vetted.samples]
            found.append(replace(vetted, samples=samples))
    for each in found:
        each.write(output)
        each.check_share(max_bad_share)
    return Vetted(
        samples=[sample for each in found for sample in each.samples],
        rejected=[row for each in found for row in each.rejected],
    )


def written_boxes(mixture: Mixture | None, boxes: str | None) -> str:
    """Returns how boxes are written in what is asked about.

    Args:
        mixture: which says so itself.
        boxes: of a file, as the user says.

    Raises:
        ValueError: a mixture writes them in several ways, or in another than the user says.
    """
    if mixture is None:
        return boxes or "isthmus"
    ways = {mixture.asking_of(entry).boxes for entry in mixture.entries}
    if len(ways) > 1 or (boxes and {boxes} != ways):
        raise ValueError(
            f"the mixture writes boxes as {', '.join(sorted(ways))}"
            + (f", and --boxes is {boxes}" if boxes else "")
            + "; all that is asked at once is written in one way: set `boxes` in its `asking`"
        )
    return ways.pop()
