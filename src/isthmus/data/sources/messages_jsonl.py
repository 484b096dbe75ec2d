"""The canonical layout: `messages` whose content is a list of typed parts, beside `images`."""

from pathlib import Path
from typing import Any, cast, final

from isthmus.data.sample import ROLES, ImagePart, Message, Role, Sample, Text
from isthmus.data.sources.base import Row, Source, expect, image_paths


@final
class MessagesSource(Source):
    """Reads the row that Hugging Face's chat templates and TRL take.

    A row is `{"id": ..., "task": ..., "images": [path, ...], "messages": [{"role": "user",
    "content": [{"type": "image"}, {"type": "text", "text": ...}]}, ...], "meta": {...}}`; content
    may also be one string, and `image` one path. `id`, `task`, `images` and `meta` may be absent.
    """

    key = "messages"

    def sample(self, row: Row, *, name: str, image_root: Path) -> Sample:
        """Returns the sample of a row; see `Source.sample`."""
        return Sample(
            id=str(row.get("id", name)),
            messages=tuple(_message(m) for m in expect(row["messages"], list, "messages")),
            images=image_paths(row.get("images", row.get("image")), image_root),
            task=expect(row.get("task") or "", str, "task"),
            meta=expect(row.get("meta") or {}, dict, "meta"),
        )


def _message(value: Any) -> Message:
    message = expect(value, dict, "a message")
    role = message.get("role")
    if role not in ROLES:
        raise ValueError(f"a message has the role {role!r}; expected one of {', '.join(ROLES)}")
    content = message.get("content")
    if isinstance(content, str):
        return Message(cast(Role, role), (Text(content),))
    return Message(cast(Role, role), tuple(_part(p) for p in expect(content, list, "content")))


def _part(value: Any) -> Text | ImagePart:
    part = expect(value, dict, "a content part")
    if part.get("type") == "image":
        return ImagePart()
    if part.get("type") == "text":
        return Text(expect(part.get("text"), str, "the text of a content part"))
    raise ValueError(f"a content part has the type {part.get('type')!r}; expected image or text")


SOURCE = MessagesSource
