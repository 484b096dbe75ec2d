"""The canonical layout: `messages` whose content is a list of typed parts, beside `images`."""

from pathlib import Path
from typing import Any, cast, final

from isthmus.data.faults import Fault
from isthmus.data.sample import ROLES, ImagePart, Message, Role, Sample, Text
from isthmus.data.sources.base import Row, Source, expect, image_paths

PATH_SOURCES = ("image", "path")
UNREAD_SOURCES = ("url", "base64")
"""Keys under which transformers looks for the image of a part."""


@final
class MessagesSource(Source):
    """Reads the row that Hugging Face's chat templates and TRL take.

    A row is `{"id": ..., "task": ..., "images": [path, ...], "messages": [{"role": "user",
    "content": [{"type": "image"}, {"type": "text", "text": ...}]}, ...], "meta": {...}}`; content
    may also be one string, and `image` one path. `id`, `task`, `images` and `meta` may be absent.
    A message of the user may have a `style`, in which the chat template is to ask.

    In place of `images`, each image part may hold its own path, under `image` or `path`.
    """

    keys = ("messages",)

    def sample(self, row: Row, *, name: str, image_root: Path) -> Sample:
        """Returns the sample of a row; see `Source.sample`."""
        messages = tuple(_message(m) for m in expect(row["messages"], list, "messages"))
        listed, held = row.get("images", row.get("image")), _held(row["messages"])
        if listed and held:
            raise Fault(
                "wrong_layout",
                f"images are named by the row, as {listed!r:.80}, and by its content parts, as "
                f"{held!r:.80}; name all of them in one place",
            )
        return Sample(
            id=str(row.get("id", name)),
            messages=messages,
            images=image_paths(held or listed, image_root),
            task=expect(row.get("task") or "", str, "task"),
            meta=expect(row.get("meta") or {}, dict, "meta"),
        )


def _message(value: Any) -> Message:
    message = expect(value, dict, "a message")
    role = message.get("role")
    if role not in ROLES:
        raise Fault(
            "wrong_layout", f"a message has the role {role!r}; expected one of {', '.join(ROLES)}"
        )
    content = message.get("content")
    parts = (
        (Text(content),)
        if isinstance(content, str)
        else tuple(_part(part) for part in expect(content, list, "content"))
    )
    style = message.get("style")
    if style is not None and role != "user":
        raise Fault(
            "wrong_layout",
            f"a message of the {role} has the style {style!r}; expected one where the user asks",
        )
    asked = None if style is None else expect(style, str, "the style of a message")
    return Message(cast(Role, role), parts, asked)


def _part(value: Any) -> Text | ImagePart:
    part = expect(value, dict, "a content part")
    if part.get("type") == "image":
        for key in UNREAD_SOURCES:
            if part.get(key) is not None:
                raise Fault(
                    "wrong_layout",
                    f"an image part holds a {key}, {part[key]!r:.80}, and data is only read from "
                    "files; save the image in the image root and give its path",
                )
        return ImagePart()
    if part.get("type") == "text":
        return Text(expect(part.get("text"), str, "the text of a content part"))
    raise Fault(
        "wrong_layout", f"a content part has the type {part.get('type')!r}; expected image or text"
    )


def _held(messages: list[dict[str, Any]]) -> list[Any]:
    """Returns the paths that the parts of messages hold, in reading order."""
    return [
        part[key]
        for message in messages
        if isinstance(message["content"], list)
        for part in message["content"]
        for key in PATH_SOURCES
        # Tables write every key in every part, and null where it means nothing.
        if part["type"] == "image" and part.get(key) is not None
    ]


SOURCE = MessagesSource
