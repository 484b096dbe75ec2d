"""Shards of a feature store: the features of some images in one file."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from isthmus.training.feature_leases import UNFINISHED

SHARD = ".safetensors"
INDEX_BYTES = 512
"""What an image adds to a shard besides its features, at most."""


def write_shard(path: Path, views: Mapping[str, int], tensors: Mapping[str, Tensor]) -> None:
    """Writes a shard, which appears under its name when it is whole and on disk.

    Args:
        path: file to be.
        views: how many each image has, by key.
        tensors: whose rows are the views of one image after the other.
    """
    unfinished = path.with_suffix(UNFINISHED)
    save_file(dict(tensors), unfinished, metadata={"images": json.dumps(list(views.items()))})
    with unfinished.open("r+b") as file:
        os.fsync(file.fileno())
    unfinished.rename(path)


def read_shard(path: Path) -> tuple[dict[str, slice], dict[str, Tensor]]:
    """Maps a shard into memory, where it stays readable even if the file is deleted.

    Returns:
        The rows of each image by key, and the tensors.

    Raises:
        ValueError: the file was damaged after it was written.
    """
    try:
        with safe_open(path, "pt") as file:
            images = json.loads(file.metadata()["images"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path} is no shard of a feature store ({error}); delete it, it will be made again"
        ) from error
    rows, end = {}, 0
    for key, num_views in images:
        rows[key] = slice(end, end + num_views)
        end += num_views
    return rows, tensors
