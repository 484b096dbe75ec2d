"""Fusions: where visual tokens and the language model meet. One file each."""

from collections.abc import Mapping
from typing import Any

from isthmus import kinds
from isthmus.fusion.base import Fusion, FusionConfig

__all__ = ["Fusion", "FusionConfig", "default", "from_dict", "names"]


def names() -> list[str]:
    """Returns the kinds of fusion, sorted."""
    return kinds.names(__name__)


def default(kind: str) -> FusionConfig:
    """Returns the configuration of a kind with every field at its default.

    Raises:
        ValueError: there is no such kind.
    """
    return FusionConfig.of_kind(kind)()


def from_dict(data: Mapping[str, Any]) -> FusionConfig:
    """Builds a fusion's configuration from its JSON object, which names its kind.

    Raises:
        ValueError: the kind or a key is unknown, or a value has the wrong type.
    """
    return FusionConfig.from_dict(data)
