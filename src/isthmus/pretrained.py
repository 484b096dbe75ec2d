"""Reading the configuration of a pretrained model, wherever it lies."""

import re
from pathlib import Path

from transformers import AutoConfig, PreTrainedConfig

_PUBLISHED = Path(__file__).parent / "published"
_HUB_ID = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?")


def read_config(name: str) -> PreTrainedConfig:
    """Reads the configuration of a pretrained model.

    Args:
        name: local folder or hub id.

    Raises:
        ValueError: it is a path at which no model lies.
        OSError: it may be a hub id, but the hub has no such model or cannot be reached.
    """
    folder = Path(name)
    if not folder.is_dir() and not _HUB_ID.fullmatch(name):
        raise ValueError(
            f"there is no folder {name}; expected the folder of a pretrained model, a hub id such "
            "as google/siglip-base-patch16-224, or microworld:NAME"
        )
    if folder.is_dir() and not (folder / "config.json").is_file():
        raise ValueError(
            f"{name} holds no config.json; expected a folder that save_pretrained of a "
            "transformers model wrote"
        )
    return AutoConfig.from_pretrained(name)


def published(name: str) -> str:
    """Returns the folder in which we keep a published part's configuration, or the name itself.

    There are no weights in it: it serves to plan and to build without the hub.

    Args:
        name: local folder or hub id.
    """
    folder = _PUBLISHED / name.replace("/", "--")
    return str(folder) if _HUB_ID.fullmatch(name) and folder.is_dir() else name
