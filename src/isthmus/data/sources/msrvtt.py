"""MSR-VTT's captions: one object with `videos` and `sentences`, which are joined by video."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, final

from isthmus.data.facts import Captioned, Item
from isthmus.data.faults import Fault, Filtered
from isthmus.data.sources._files import decoded, read_object
from isthmus.data.sources._values import check_template, filled, text
from isthmus.data.sources.base import Reader, expect, image_paths

_NAMES = {"train": ("train",), "val": ("val", "validate"), "test": ("test",)}
"""How files call a split."""


@final
@dataclass(frozen=True, kw_only=True)
class Msrvtt(Reader):
    """Reads `train_val_videodatainfo.json` and its like; a row is a clip with all its captions.

    A clip is `{"video_id": "video0", "split": "train", "category": 9}` among the `videos`, and a
    caption `{"video_id": "video0", "caption": ...}` among the `sentences`.
    """

    files: ClassVar[tuple[str, ...]] = ("file",)

    split: Literal["train", "val", "test"] = "train"
    image: str = "{video_id}.mp4"
    """Template of a clip's path, of what `videos` tells of it."""

    def __post_init__(self) -> None:
        """Checks the template."""
        check_template(self.image)

    def rows(self, files: Mapping[str, Path]) -> Sequence[Any]:
        """Returns the clips, each with its sentences; see `Reader.rows`.

        Sentences of a clip that is not there are a row of their own, which `content` refuses.
        """
        found = read_object(files["file"], "videos", "sentences")
        said: dict[str, list[Any]] = {}
        for sentence in found["sentences"]:
            said.setdefault(_clip(sentence), []).append(sentence)
        rows = [
            {"video": video, "sentences": said.pop(_clip(video), None)} for video in found["videos"]
        ]
        return [*rows, *({"video": None, "sentences": alone} for alone in said.values())]

    def content(self, row: Any, *, name: str, image_root: Path) -> Item:
        """Returns a clip with its captions; see `Reader.content`."""
        row = decoded(row)
        if row["video"] is None:
            raise Fault("no_partner", f"no video is that of the sentences {row['sentences']!r:.80}")
        video = expect(row["video"], dict, "a video")
        if video.get("split") not in _NAMES[self.split]:
            raise Filtered("split")
        clip = text(video.get("video_id"), "video_id")
        if row["sentences"] is None:
            raise Fault("no_partner", f"no sentence is left for the video {clip}")
        return Item(
            id=clip,
            images=image_paths(filled(self.image, video), image_root),
            facts=tuple(
                Captioned(text=text(expect(each, dict, "a sentence").get("caption"), "caption"))
                for each in row["sentences"]
            ),
            task="caption",
            meta={"video": True},
        )


def _clip(value: Any) -> str:
    """Returns the name of the clip that a video or a sentence is of."""
    return str(value.get("video_id")) if isinstance(value, dict) else ""


READER = Msrvtt
