"""LLaVA's layout: `conversations` of `from` and `value`, with `<image>` marks in the text."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, final

from isthmus.data.faults import Fault
from isthmus.data.sample import ImagePart, Message, Role, Sample, Text
from isthmus.data.sources.base import Row, Source, expect, image_paths

ROLE_OF: dict[str, Role] = {
    "system": "system",
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "chatgpt": "assistant",
    "bard": "assistant",
    "bing": "assistant",
}
"""In small letters; what a tool says has no place."""
_MARK = re.compile(r"\n?<image>\n?")


@final
class LlavaSource(Source):
    r"""Reads the row of LLaVA's instruction files.

    A row is `{"id": ..., "image": path or [path, ...], "conversations": [{"from": "human",
    "value": "<image>\nWhat is it?"}, {"from": "gpt", "value": ...}]}`. The dialects of ShareGPT are
    read, too: `items` for the turns, `role` for who speaks, `content` for the words. So is
    `conversatons`, as some of LLaVA's own rows have it.

    Differs: LLaVA moves the mark of a lone image to the front of its turn; here it stays where it
        is. The line breaks next to a mark belong to the mark, so that a template decides on them.
    """

    keys = ("conversations", "items", "conversatons")

    def sample(self, row: Row, *, name: str, image_root: Path) -> Sample:
        """Returns the sample of a row; see `Source.sample`."""
        key = next(key for key in self.keys if key in row)
        turns = expect(row[key], list, key)
        return Sample(
            id=str(row.get("id", name)),
            messages=tuple(_message(turn) for turn in turns),
            images=image_paths(row.get("image", row.get("images")), image_root),
            task=expect(row.get("task") or "", str, "task"),
            meta=expect(row.get("meta") or {}, dict, "meta"),
        )


def _message(value: Any) -> Message:
    turn = expect(value, dict, "a turn")
    speaker = expect(turn.get("from", turn.get("role")), str, "from").lower()
    if speaker not in ROLE_OF:
        raise Fault(
            "wrong_layout", f"a turn is from {speaker!r}; expected one of {', '.join(ROLE_OF)}"
        )
    words = expect(turn.get("value", turn.get("content")), str, "value")
    return Message(ROLE_OF[speaker], tuple(_parts(words)))


def _parts(text: str) -> Iterator[Text | ImagePart]:
    before, *rest = _MARK.split(text)
    if before:
        yield Text(before)
    for after in rest:
        yield ImagePart()
        if after:
            yield Text(after)


SOURCE = LlavaSource
