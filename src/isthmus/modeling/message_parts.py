"""Conversations as transformers writes them: messages whose content is text, or typed parts."""

from typing import Any

IMAGE_SOURCES = ("image", "url", "path", "base64")
"""Keys under which an image part of a message holds its image."""

Message = dict[str, Any]
"""A role, and content: one text, or a list of parts."""


def as_text(messages: list[Message], image_token: str) -> list[Message]:
    """Returns the messages with one text each.

    Args:
        messages: of a conversation.
        image_token: what stands in place of an image.

    Raises:
        ValueError: a part is neither text nor image.
    """

    def text_of(part: dict[str, Any]) -> str:
        if part["type"] == "image":
            return image_token
        if part["type"] == "text":
            return part["text"]
        raise ValueError(
            f"a message holds a part of type {part['type']!r}; expected 'image' or 'text'"
        )

    return [
        message
        if not isinstance(message.get("content"), list)
        else {**message, "content": "".join(map(text_of, message["content"]))}
        for message in messages
    ]


def images_of(messages: list[Message]) -> list[Any]:
    """Returns the images that the parts of a conversation hold, in reading order."""
    return [
        part[source]
        for parts in _typed(messages)
        for part in parts
        if part["type"] == "image"
        for source in IMAGE_SOURCES
        if source in part
    ]


def instructions_of(messages: list[Message]) -> list[str]:
    """Returns the words of the message around each image of a conversation, in reading order."""
    found = []
    for parts in _typed(messages):
        words = "".join(part["text"] for part in parts if part["type"] == "text")
        found += [words.strip()] * sum(part["type"] == "image" for part in parts)
    return found


def _typed(messages: list[Message]) -> list[list[dict[str, Any]]]:
    """Returns the contents that are parts."""
    return [m["content"] for m in messages if isinstance(m.get("content"), list)]
