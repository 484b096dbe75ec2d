"""A tower of which the features follow from the file's content, and stores of what it gives."""

import multiprocessing
from collections.abc import Callable, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from isthmus.training.feature_store import FeatureStore

SHAPE = (30, 50)
"""Large enough that a shard is mostly features."""


def write_images(folder: Path, num: int, *, first: int = 0) -> list[Path]:
    """Writes files of which only the content counts."""
    paths = [folder / f"{number:02}.png" for number in range(first, first + num)]
    for path in paths:
        path.write_bytes(f"image {path.stem}".encode())
    return paths


def features_of(path: Path, views: int = 1) -> Tensor:
    """Returns what the tower sees of an image."""
    generator = torch.Generator().manual_seed(int.from_bytes(path.read_bytes()[-4:]))
    return torch.randn((views, *SHAPE), generator=generator)


def features_of_all(paths: Sequence[Path]) -> Tensor:
    """Returns what the tower sees of images of one view."""
    return torch.cat([features_of(path) for path in paths])


class Tower:
    """Remembers what it is asked."""

    def __init__(self, views: Callable[[Path], int] = lambda path: 1) -> None:
        self.views = views
        self.seen: list[str] = []
        self.batches: list[int] = []

    def __call__(self, paths: Sequence[Path]) -> Tensor:
        self.seen += [path.name for path in paths]
        features = torch.cat([features_of(path, self.views(path)) for path in paths])
        self.batches.append(len(features))
        return features

    def count(self, paths: Sequence[Path]) -> list[int]:
        """Counts views, as a store asks for it."""
        return [self.views(path) for path in paths]


def tiny_store(folder: Path, *, weights: str = "w", **choices: Any) -> FeatureStore:
    """Opens a store below a folder."""
    settings = {"num_patches": SHAPE[0], "d_vision": SHAPE[1], "dtype": torch.float32, **choices}
    return FeatureStore(folder / "features", {"weights": weights, "layer": -2}, **settings)


def begin(target: Callable[..., None], *arguments: Any) -> BaseProcess:
    """Runs a function in a real process, which has all that this one has imported."""
    process = multiprocessing.get_context("fork").Process(
        target=target, args=arguments, daemon=True
    )
    process.start()
    return process


def end_of(process: BaseProcess) -> int | None:
    """Returns the exit code of a process, which must not hang."""
    process.join(timeout=60)
    code = process.exitcode
    process.kill()
    return code
