"""Fingerprints: the short hash by which two results show that they saw the same data and towers."""

from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path

import torch
from torch import Tensor

from isthmus.config import DIGEST_LENGTH
from isthmus.data.media import digest_of


def of_files(files: Iterable[Path]) -> str:
    """Returns the fingerprint of the content of files, in order.

    Only content counts, so that a copy of the data elsewhere keeps its fingerprint. Images may lie
    in archives, tables and clips.
    """
    whole = sha256()
    for path in files:
        whole.update(f"{digest_of(path)};".encode())
    return whole.hexdigest()[:DIGEST_LENGTH]


def of_weights(weights: Mapping[str, Tensor]) -> str:
    """Returns the fingerprint of weights: names, shapes, number formats and values."""
    whole = sha256()
    for name, value in sorted(weights.items()):
        tensor = value.detach().cpu().contiguous()
        whole.update(f"{name} {tuple(tensor.shape)} {tensor.dtype};".encode())
        # numpy has no bfloat16, so the bytes are taken as they lie
        whole.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return whole.hexdigest()[:DIGEST_LENGTH]
