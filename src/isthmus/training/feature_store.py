"""What a frozen tower saw of each image, kept on disk and shared by every run that asks.

A store is a folder named by the digest of all that decides its content: the tower's weights, the
layer, the preprocessing and the number format. In it, features lie in shards of many images:
`NAME.bin` is a plain array of (images, patches, d_vision), memory-mapped by readers, and
`NAME.json` lists the SHA-256 of each image file in it. The list is written last, and both are
written under another name and moved. So a crash leaves a store that lacks a shard, never one that
lies; and several runs may write at once, at worst the same image twice.
"""

import json
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any, final
from uuid import uuid4

import torch
from jaxtyping import Float
from torch import Tensor

from isthmus.config import digest_of

Encode = Callable[[Sequence[Path]], Float[Tensor, "images patches d_vision"]]
"""Runs the tower over image files."""

SHARD_BYTES = 128 << 20
"""Features in a shard, at most; a crash loses the unfinished one."""
PARITY_IMAGES = 8
"""Stored images that are encoded again, to see that the store holds what the tower gives."""
TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 5e-2}
"""Largest difference, as a share of the largest feature, that arithmetic in another batch size may
make; a wrong feature differs by about 1."""


@final
@dataclass(frozen=True, kw_only=True)
class StoreReport:
    """What a run found in the store, and how true it is."""

    folder: str
    images: int
    """Distinct images that the run needs."""
    encoded: int
    """Those of them that were not in the store yet."""
    parity_images: int
    """Images encoded again for comparison."""
    max_abs_difference: float
    """Largest difference between stored and fresh features of these."""
    max_abs_feature: float
    """Largest of these features, to judge the difference by."""

    def to_dict(self) -> dict[str, Any]:
        """Returns the report as JSON-able values."""
        return asdict(self)


@final
class FeatureStore:
    """Features of images by path; `fill` it, then call it with the images of a batch."""

    def __init__(
        self,
        root: Path,
        about: Mapping[str, Any],
        *,
        num_patches: int,
        d_vision: int,
        dtype: torch.dtype,
    ):
        """Opens the store of a tower, which may not exist yet.

        Args:
            root: folder of all stores.
            about: all that decides the features besides the image: weights, layer, preprocessing.
            num_patches: patches of an image.
            d_vision: width of a patch.
            dtype: number format on disk.
        """
        self.shape, self.dtype = (num_patches, d_vision), dtype
        self.about = {**about, "shape": [num_patches, d_vision], "dtype": str(dtype)}
        self.folder = root / digest_of(self.about)
        self._rows: dict[str, tuple[Tensor, int]] = {}
        self._shards: set[str] = set()
        self._hashes: dict[Path, str] = {}

    def __call__(self, paths: Sequence[Path]) -> Float[Tensor, "images patches d_vision"]:
        """Returns the features of images that the store was filled with."""
        places = (self._rows[self._hashes[path]] for path in paths)
        return torch.stack([shard[row] for shard, row in places])

    def fill(self, paths: Iterable[Path], encode: Encode, *, batch_size: int = 32) -> StoreReport:
        """Encodes the images that the store lacks, and checks some that it has.

        Args:
            paths: image files that will be asked for.
            encode: runs the tower over some of them.
            batch_size: images per call of `encode`.

        Raises:
            ValueError: a stored feature is not what the tower gives.
        """
        by_hash: dict[str, Path] = {}
        for path in sorted(set(paths)):
            self._hashes[path] = sha256(path.read_bytes()).hexdigest()
            by_hash.setdefault(self._hashes[path], path)
        self._open_shards()
        missing = [path for key, path in by_hash.items() if key not in self._rows]
        bytes_per_image = math.prod(self.shape) * self.dtype.itemsize
        per_shard = max(batch_size, SHARD_BYTES // bytes_per_image)
        for start in range(0, len(missing), per_shard):
            self._write_shard(missing[start : start + per_shard], encode, batch_size)
        self._open_shards()
        return self._checked(by_hash, len(missing), encode)

    def _write_shard(self, paths: Sequence[Path], encode: Encode, batch_size: int) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        _write(self.folder / "about.json", [json.dumps(self.about, indent=2).encode()])
        name = uuid4().hex
        _write(
            self.folder / f"{name}.bin",
            (
                self._bytes(encode(paths[start : start + batch_size]))
                for start in range(0, len(paths), batch_size)
            ),
        )
        keys = [self._hashes[path] for path in paths]
        _write(self.folder / f"{name}.json", [json.dumps(keys).encode()])

    def _bytes(self, features: Float[Tensor, "images patches d_vision"]) -> bytes:
        if tuple(features.shape[1:]) != self.shape:
            raise ValueError(
                f"the tower gave features of shape {tuple(features.shape[1:])} per image; the "
                f"store was opened for {self.shape}"
            )
        on_disk = features.detach().to("cpu", self.dtype).contiguous()
        return on_disk.view(torch.uint8).numpy().tobytes()

    def _open_shards(self) -> None:
        """Maps the shards that have a list and are not mapped yet."""
        for listed in sorted(self.folder.glob("*.json")):
            if listed.name == "about.json" or listed.stem in self._shards:
                continue
            keys = json.loads(listed.read_text())
            size = len(keys) * math.prod(self.shape)
            path = listed.with_suffix(".bin")
            if not path.exists() or path.stat().st_size != size * self.dtype.itemsize:
                raise ValueError(f"{path} is not the array that {listed.name} lists; delete both")
            mapped = torch.from_file(str(path), shared=False, size=size, dtype=self.dtype)
            features = mapped.view(len(keys), *self.shape)
            self._rows.update({key: (features, row) for row, key in enumerate(keys)})
            self._shards.add(listed.stem)

    def _checked(self, by_hash: Mapping[str, Path], encoded: int, encode: Encode) -> StoreReport:
        chosen = Random(0).sample(list(by_hash.values()), min(PARITY_IMAGES, len(by_hash)))
        difference = largest = 0.0
        if chosen:
            stored = self(chosen).float()
            fresh = encode(chosen).to("cpu", self.dtype).float()
            difference = (stored - fresh).abs().max().item()
            largest = fresh.abs().max().item()
        if not difference <= TOLERANCE[self.dtype] * largest:
            raise ValueError(
                f"the feature store {self.folder} differs from the tower by {difference:.3g} "
                f"(largest feature {largest:.3g}); delete the folder, it will be made again"
            )
        return StoreReport(
            folder=str(self.folder),
            images=len(by_hash),
            encoded=encoded,
            parity_images=len(chosen),
            max_abs_difference=difference,
            max_abs_feature=largest,
        )


def _write(path: Path, blocks: Iterable[bytes]) -> None:
    """Writes a file that appears under its name only when it is whole and on disk."""
    unfinished = path.with_name(f".{uuid4().hex}.unfinished")
    try:
        with unfinished.open("wb") as file:
            for block in blocks:
                file.write(block)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
