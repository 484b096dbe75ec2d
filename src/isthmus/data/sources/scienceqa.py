"""ScienceQA: `problems.json` with `pid_splits.json`; about half of the questions have an image."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, final

from isthmus.data.facts import Chosen, Item
from isthmus.data.faults import Fault, Filtered
from isthmus.data.sources._files import decoded, read_object
from isthmus.data.sources._values import check_template, filled, text, texts, whole
from isthmus.data.sources.base import Reader, expect, image_paths


@final
@dataclass(frozen=True, kw_only=True)
class ScienceQa(Reader):
    """Reads the problems; a row is one.

    A problem is `{"question": ..., "choices": [...], "answer": 0, "hint": ..., "image":
    "image.png" or null, "split": "train", "solution": ..., "lecture": ...}` by its number. The hint
    is the context, the solution the reason. One without an image is a question about its text.
    """

    files: ClassVar[tuple[str, ...]] = ("problems", "splits")

    split: Literal["train", "val", "test", "minival", "minitest"] = "train"
    image: str = "images/{split}/{pid}/{image}"
    """Template of an image's path, of the fields of the problem and its number, `pid`."""

    def __post_init__(self) -> None:
        """Checks the template."""
        check_template(self.image)

    def rows(self, files: Mapping[str, Path]) -> Sequence[Any]:
        """Returns the problems, and whether each is asked for; see `Reader.rows`."""
        problems = read_object(files["problems"])
        asked = {str(pid) for pid in read_object(files["splits"], self.split)[self.split]}
        return [
            *(
                {"pid": pid, "problem": problem, "is_asked": pid in asked}
                for pid, problem in problems.items()
            ),
            *(
                {"pid": pid, "problem": None, "is_asked": True}
                for pid in sorted(asked - problems.keys())
            ),
        ]

    def content(self, row: Any, *, name: str, image_root: Path) -> Item:
        """Returns a problem; see `Reader.content`."""
        row = decoded(row)
        if not row["is_asked"]:
            raise Filtered("split")
        if row["problem"] is None:
            raise Fault("no_partner", f"no problem has the number {row['pid']} of the split")
        problem = {**expect(row["problem"], dict, "a problem"), "pid": row["pid"]}
        paths = [filled(self.image, problem)] if problem.get("image") else []
        solution = text(problem.get("solution") or "", "solution")
        kept = ("subject", "topic", "grade", "lecture")
        return Item(
            id=row["pid"],
            images=image_paths(paths, image_root),
            facts=(
                Chosen(
                    question=text(problem.get("question"), "question"),
                    choices=texts(problem.get("choices"), "choices"),
                    index=whole(problem.get("answer"), "answer"),
                    context=text(problem.get("hint") or "", "hint"),
                    reasons=(solution,) if solution else (),
                ),
            ),
            task="choice",
            meta={key: problem[key] for key in kept if problem.get(key)},
        )


READER = ScienceQa
