"""Connectors: what a vision tower saw becomes tokens that a language model reads. One file each."""

from collections.abc import Mapping
from typing import Any

from isthmus import kinds
from isthmus.connectors.base import Connector, ConnectorConfig

__all__ = ["Connector", "ConnectorConfig", "default", "from_dict", "names"]


def names() -> list[str]:
    """Returns the kinds of connector, sorted."""
    return kinds.names(__name__)


def default(kind: str) -> ConnectorConfig:
    """Returns the configuration of a kind with every field at its default.

    Raises:
        ValueError: there is no such kind.
    """
    return ConnectorConfig.of_kind(kind)()


def from_dict(data: Mapping[str, Any]) -> ConnectorConfig:
    """Builds a connector's configuration from its JSON object, which names its kind.

    Raises:
        ValueError: the kind or a key is unknown, or a value has the wrong type.
    """
    return ConnectorConfig.from_dict(data)
