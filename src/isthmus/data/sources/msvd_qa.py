"""MSVD-QA: questions about clips, which another file names."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, final

from isthmus.data.facts import Answered, Item
from isthmus.data.faults import Fault
from isthmus.data.sources._files import decoded, read_rows, read_text
from isthmus.data.sources._values import check_template, filled, text
from isthmus.data.sources.base import Reader, image_paths


@final
@dataclass(frozen=True, kw_only=True)
class MsvdQa(Reader):
    """Reads `train_qa.json` and its like with `youtube_mapping.txt`; a row is a question.

    A question is `{"id": 0, "video_id": 1, "question": ..., "answer": ...}`. A line of the mapping
    is the name of a clip, a space, and `vid1` for the clip 1.
    """

    files: ClassVar[tuple[str, ...]] = ("file", "names")

    image: str = "{name}.avi"
    """Template of a clip's path."""

    def __post_init__(self) -> None:
        """Checks the template."""
        check_template(self.image)

    def rows(self, files: Mapping[str, Path]) -> Sequence[Any]:
        """Returns the questions, each with the name of its clip; see `Reader.rows`."""
        lines = (line.split() for line in read_text(files["names"]).split("\n"))
        names = {line[1]: line[0] for line in lines if len(line) == 2}
        return [
            {**question, "name": names.get(f"vid{question.get('video_id')}")}
            if isinstance(question, dict)
            else question
            for question in read_rows(files["file"])
        ]

    def content(self, row: Any, *, name: str, image_root: Path) -> Item:
        """Returns a question with its answer; see `Reader.content`."""
        row = decoded(row)
        if row.get("name") is None:
            raise Fault("no_partner", f"no name is that of the clip {row.get('video_id')!r:.80}")
        return Item(
            id=text(row.get("id", name), "id"),
            images=image_paths(filled(self.image, row), image_root),
            facts=(
                Answered(
                    question=text(row.get("question"), "question"),
                    answer=text(row.get("answer"), "answer"),
                ),
            ),
            task="vqa",
            meta={"video": True},
        )


READER = MsvdQa
