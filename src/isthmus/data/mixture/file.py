"""A mixture as a file: which data sets, where they lie, how they are asked, and their shares.

    balance: {rule: tuned}
    asking: {diversity: ten}
    entries:
      - name: vqav2
        source: vqa
        files: {questions: vqa/questions.json, annotations: vqa/annotations.json}
        image_root: coco
        asking: {turns: 10, deduplicate: target}
        weight: 0.103
      - name: mine
        file: mine.jsonl
        weight: 0.2

Paths start from the folder of the file. JSON is YAML, too.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, final

import yaml

from isthmus.config import Config
from isthmus.data.mixture.balance import Balance
from isthmus.data.templates.merging import Deduplicate
from isthmus.data.templates.template import Diversity, Granularity, Identifier

_NAME = re.compile(r"\w[\w.+-]*")
FrameRule = Literal["left_edges", "midpoints", "both_ends"]

BY_CONTENT = "by_content"
"""The reader of files whose content tells their layout."""


@final
@dataclass(frozen=True, kw_only=True)
class Asking(Config):
    """How facts are put to a model. Conversations are told as they are, in the `style`."""

    granularity: Granularity = "fine"
    """Whether a data set's own template is used, or that of its kind of facts."""
    diversity: Diversity = "single"
    """Ways of which one is drawn for a conversation."""
    identifier: Identifier | None = None
    """A name in place of an instruction: the data set's, or that of its task."""
    turns: int = 1
    """Facts about the same images in a conversation at most."""
    deduplicate: Deduplicate = "no"
    """Whether facts with the same target take turns in a conversation of several."""
    shuffle: bool = False
    """Draw the order of choices each time."""
    style: str | None = None
    """How the chat template asks, where it knows several ways: `short` or `chat` of `cogvlm_chat`.
    """
    boxes: str = "cogvlm"
    """How boxes are written: the name of a convention of `geometry/box_text.py`."""
    frames: int = 8
    """Frames of a clip that are shown, at most."""
    frame_rule: FrameRule = "midpoints"
    """Which they are: of equal stretches the first or the middle one, or both ends and evenly
    between."""
    frames_per_second: float | None = None
    """Show so many frames of each second, in place of always as many."""
    stills: bool = False
    """Show an image as a clip that stands still, of as many frames."""

    def __post_init__(self) -> None:
        """Checks the numbers.

        Raises:
            ValueError: one is out of range.
        """
        for name in ("turns", "frames"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; expected 1 or more")
        if self.frames_per_second is not None and not self.frames_per_second > 0:
            raise ValueError(
                f"frames_per_second is {self.frames_per_second}; expected more than 0, or null"
            )


@final
@dataclass(frozen=True, kw_only=True)
class MixtureEntry(Config):
    """A data set of a mixture."""

    name: str
    """What shares, reports and identifiers call it."""
    source: str | dict[str, Any] = BY_CONTENT
    """Its layout: a reader or a field map by name, or a field map."""
    file: Path | None = None
    """Where it lies, if it is one file or folder."""
    files: dict[str, Path] = field(default_factory=dict)
    """Where it lies, if it is several, by the names that its reader gives them."""
    image_root: Path | None = None
    """Folder in which its images lie; that of its first file when None."""
    options: dict[str, Any] = field(default_factory=dict)
    """What else its reader is told, such as a split."""
    task: str | None = None
    """What it trains, for shares by task; what its rows say when None."""
    template: str | dict[str, Any] | None = None
    """Its own ways to be asked: a set by name, or written here."""
    asking: dict[str, Any] = field(default_factory=dict)
    """Settings of the mixture's `asking` that are others for this data set."""
    weight: float | None = None
    """Its share relative to the others, under the rule `tuned`."""
    text_only: bool = False
    """Whether it shows no images, for `text_only_share`."""

    def __post_init__(self) -> None:
        """Checks that it lies somewhere, and that a folder may have its name.

        Raises:
            ValueError: both `file` and `files` are given, or neither, or the name is none.
        """
        if not _NAME.fullmatch(self.name):
            raise ValueError(
                f"the name of a data set is {self.name!r}; expected letters, digits and . _ + -, "
                "a letter or digit first"
            )
        if (self.file is None) == (not self.files):
            raise ValueError(
                f"the data set {self.name!r} has the file {self.file} and the files {self.files}; "
                "give one of them"
            )


@final
@dataclass(frozen=True, kw_only=True)
class Mixture(Config):
    """Data sets that are learned from together."""

    entries: tuple[MixtureEntry, ...]
    balance: Balance = field(default_factory=Balance)
    asking: Asking = field(default_factory=Asking)
    samples: int | None = None
    """Draws of an epoch; as many as there are samples when None."""

    def __post_init__(self) -> None:
        """Checks that data sets can be told apart.

        Raises:
            ValueError: there is none, two have one name, or an epoch has no draw.
        """
        names = [entry.name for entry in self.entries]
        if not names or len(set(names)) < len(names):
            raise ValueError(f"the data sets of the mixture are {names}; expected each name once")
        if self.samples is not None and self.samples < 1:
            raise ValueError(f"samples is {self.samples}; expected 1 or more, or null")

    def asking_of(self, entry: MixtureEntry) -> Asking:
        """Returns how a data set is asked.

        Raises:
            ValueError: a setting is unknown or of another type.
        """
        return Asking.from_dict({**self.asking.to_dict(), **entry.asking})


def read_mixture(file: Path) -> Mixture:
    """Reads a mixture; its paths start from the folder of the file.

    Raises:
        ValueError: the file does not exist, is no YAML, or does not describe a mixture.
    """
    if not file.is_file():
        raise ValueError(f"the mixture {file} does not exist")
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise ValueError(f"the mixture {file} is not YAML ({error})") from error
    if not isinstance(content, dict):
        raise ValueError(f"the mixture {file} is {content!r:.80}; expected an object with entries")
    try:
        return Mixture.from_dict(content)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error
