"""What `isthmus eval` asks about: the conversations of a file, or those that a mixture makes."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from isthmus.data.mixture.dataset import open_dataset
from isthmus.data.mixture.file import Mixture
from isthmus.data.mixture.usable import usable
from isthmus.data.sample import Sample
from isthmus.data.vetting import Check, Vetted, vet


def vet_asked(
    file: Path,
    image_root: Path,
    mixture: Mixture | None,
    *,
    check: Check,
    about: Mapping[str, Any],
    console: Console | None,
) -> Vetted:
    """Tries every row, as `vet` does.

    Args:
        file: of the conversations, or of the mixture.
        image_root: folder in which the images of conversations lie.
        mixture: that the file describes, if it does; the task of a sample is its data set then.
        check: tries what is asked of a sample beyond its images.
        about: all that decides the verdict of `check`.
        console: where a bar shows how far it is.
    """
    if mixture is None:
        return vet(file, image_root, check=check, about=about, console=console)
    samples: list[Sample] = []
    rejected = []
    for entry in mixture.entries:
        dataset = open_dataset(mixture, entry, file.parent)
        found = usable(dataset, check=check, about=about, console=console).vetted(dataset)
        samples += [replace(sample, task=entry.name) for sample in found.samples]
        rejected += found.rejected
    return Vetted(samples=samples, rejected=rejected)
