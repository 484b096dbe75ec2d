"""What a stage learns from: a file of the user's, several of them, or the embedded world."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, final

from isthmus.config import Config
from isthmus.data.vetting import MAX_BAD_SHARE


@final
@dataclass(frozen=True, kw_only=True)
class FileData(Config):
    """Samples from a file of the user's, LLaVA JSON or messages JSONL."""

    file: Path
    """JSON array or JSON lines."""
    image_root: Path
    """Folder in which the images of every row lie."""
    max_bad_share: float = MAX_BAD_SHARE
    """Share of rows that may be unusable; they are left out, and named in quarantine.jsonl."""
    lazy: bool = False
    """Try each row when it is due, in place of all before the first step: for files of which even
    one pass over the images takes long. Rows are read when they are needed, not kept in memory."""
    samples: int | None = None
    """Rows of the published file, by which a plan counts epochs; training counts those of yours."""

    def __post_init__(self) -> None:
        """Checks the numbers.

        Raises:
            ValueError: the share is none, or there is no sample.
        """
        _check_share(self.max_bad_share)
        if self.samples is not None and self.samples < 1:
            raise ValueError(f"samples is {self.samples}; expected 1 or more, or None")


@final
@dataclass(frozen=True, kw_only=True)
class MixtureData(Config):
    """Samples of several data sets, as a file of the user's tells: see `data/mixture/file.py`."""

    mixture: Path
    """YAML file."""
    max_bad_share: float = MAX_BAD_SHARE
    """Share of the rows of each data set that may be unusable; see `FileData`."""
    lazy: bool = False
    """Try each row when it is due; see `FileData`."""

    def __post_init__(self) -> None:
        """Checks the share.

        Raises:
            ValueError: it is none.
        """
        _check_share(self.max_bad_share)


@final
@dataclass(frozen=True, kw_only=True)
class MicroworldData(Config):
    """Samples of the embedded world; they are written to disk and read like a user's."""

    split: Literal["train", "val", "test", "compositional"]
    """Splits share no scene."""
    num: int
    """Samples."""
    seed: int = 0
    """Source of the scenes and questions."""
    turns: int | None = None
    """Questions about a scene; None takes 6 to train on and 1 to be measured by."""
    tasks: tuple[str, ...] = ()
    """Tasks to draw the questions from, evenly; all but those of clips and styles when empty."""
    still_frames: int = 1
    """How often a picture is shown, for models that read clips of so many frames."""


Data = FileData | MixtureData | MicroworldData


def _check_share(value: float) -> None:
    if not 0 <= value <= 1:
        raise ValueError(f"max_bad_share is {value}; expected a share in [0, 1]")
