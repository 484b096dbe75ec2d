"""What a frozen tower saw of each image, kept on disk and shared by every run that asks.

All stores lie in one folder, a store in a folder of it that is named by the digest of all that
decides its content: the tower's weights, the layer, the preprocessing and the number formats, of
the computation and on disk. `about.json` spells them out. Beside it lie

- `NAME.safetensors`, a shard: tensor `features` of (views, patches, d_vision), for int8 tensor
  `scales` of (views, patches, 1), and in the metadata `images`, a JSON list of [SHA-256 of the
  image file, number of views] in the order of the rows. Readers map it into memory. It is written
  as `NAME.unfinished` and moved, so nobody sees a torn one.
- `NAME.claim`, the hashes of the images whose features somebody is computing for this shard.
- `NAME.use`, the names of the shards that a run has mapped. When all stores together would pass a
  limit, shards without such a mention are deleted, the longest unused first.

Claims and uses end with the process that made them (see `feature_leases`). So processes, of one run
or of many, share the work of filling a store, and take over from one that was killed.

Stores of the first format (`NAME.bin` and `NAME.json`) have other digests. They are not read, but
count for the limit, and go like any others.
"""

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any, NamedTuple, final
from uuid import uuid4

import torch
from jaxtyping import Float
from torch import Tensor

from isthmus.config import digest_of
from isthmus.data.media import digest_of as digest_of_image
from isthmus.training.feature_formats import FeatureDtype, FeatureFormat
from isthmus.training.feature_leases import Lease, alone, living, wait_for
from isthmus.training.feature_report import Parity, StoreReport, parity_of
from isthmus.training.feature_room import ABOUT, GIB, make_room
from isthmus.training.feature_shards import INDEX_BYTES, SHARD, read_shard, write_shard

Encode = Callable[[Sequence[Path]], Float[Tensor, "views patches d_vision"]]
"""Runs the tower over image files: all views of the first, then of the second, and so on."""
CountViews = Callable[[Sequence[Path]], list[int]]
"""Tells as how many views each image file is shown."""

FORMAT = 2
"""Of the files; a higher one is told apart by its digests."""
SHARD_BYTES = 128 << 20
"""Features in a shard, at most."""
SHARD_VIEWS = 256
"""Views in a shard, at most, so that processes share small sets, too. A kill loses one shard."""
PARITY_IMAGES = 8
"""Stored images that are encoded again, to see that the store holds what the tower gives."""


class _Image(NamedTuple):
    path: Path
    views: int


_Images = Mapping[str, _Image]
"""By the SHA-256 of their files."""


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
        on_disk: FeatureDtype = "as computed",
        limit: int | None = None,
    ):
        """Opens the store of a tower, which may not exist yet.

        Args:
            root: folder of all stores.
            about: all that decides the features besides the image: weights, layer, preprocessing.
            num_patches: patches of a view.
            d_vision: width of a patch.
            dtype: number format of the computation.
            on_disk: number format on disk.
            limit: bytes that all stores may take together; None knows no limit.
        """
        self.shape, self.root, self.limit = (num_patches, d_vision), root, limit
        self.format = FeatureFormat.of(on_disk, dtype)
        self.about = {
            **about,
            "format": FORMAT,
            "shape": [num_patches, d_vision],
            "dtype": str(dtype).removeprefix("torch."),
            "on_disk": str(self.format.on_disk).removeprefix("torch."),
        }
        self.folder = root / digest_of(self.about)
        self._rows: dict[str, tuple[Mapping[str, Tensor], slice]] = {}
        self._mapped: set[str] = set()
        self._unneeded: set[str] = set()
        self._hashes: dict[Path, str] = {}
        self._use: Lease | None = None

    def __call__(self, paths: Sequence[Path]) -> Float[Tensor, "views patches d_vision"]:
        """Returns the features of images that the store was filled with, as computed with."""
        places = (self._rows[self._hashes[path]] for path in paths)
        return torch.cat([self.format.unpack(tensors, rows) for tensors, rows in places])

    def fill(
        self,
        paths: Iterable[Path],
        encode: Encode,
        *,
        views: CountViews = lambda paths: [1] * len(paths),
        batch_size: int = 32,
    ) -> StoreReport:
        """Encodes the images that the store lacks, and checks some that it has.

        Any number of processes may fill a store at once. Each encodes what the others have not
        claimed, and returns when all of its own images are there.

        Args:
            paths: image files that will be asked for.
            encode: runs the tower over some of them.
            views: counts their views.
            batch_size: views per call of `encode`, unless one image has more.

        Raises:
            ValueError: a stored feature is not what the tower gives, or the features do not fit
                within the limit.
        """
        wanted = self._wanted(paths, views)
        num_bytes = sum(map(self._num_bytes, wanted.values()))
        if self.limit is not None and num_bytes > self.limit:
            raise ValueError(
                f"the features of {len(wanted)} images take {num_bytes / GIB:.3g} GiB as "
                f"{self.about['on_disk']}, and all stores together may take "
                f"{self.limit / GIB:.3g} GiB; raise feature_store_gib, or set feature_dtype to a "
                "smaller one"
            )
        self._unneeded.clear()
        self._evicted = encoded = 0
        with alone(self.root):
            new = len(self._map(wanted))
        for claim, images in self._claimed(wanted):
            try:
                self._write_shard(claim.name, images, encode, batch_size)
            finally:
                claim.release()
            encoded += len(images)
        return StoreReport(
            folder=str(self.folder),
            on_disk=self.about["on_disk"],
            images=len(wanted),
            views=sum(image.views for image in wanted.values()),
            bytes=num_bytes,
            new=new,
            encoded=encoded,
            evicted=self._evicted,
            parity=self._checked(wanted, encode, batch_size),
        )

    def _wanted(self, paths: Iterable[Path], views: CountViews) -> dict[str, _Image]:
        """Returns the distinct images by their hashes."""
        by_hash: dict[str, Path] = {}
        for path in sorted(set(paths)):
            self._hashes[path] = digest_of_image(path)
            by_hash.setdefault(self._hashes[path], path)
        images = map(_Image, by_hash.values(), views(list(by_hash.values())))
        return dict(zip(by_hash, images, strict=True))

    def _num_bytes(self, image: _Image) -> int:
        return image.views * self.format.num_bytes(*self.shape) + INDEX_BYTES

    def _map(self, wanted: _Images) -> _Images:
        """Maps the shards with wanted images, and returns those images that are in none."""
        if self._use is None:
            self.folder.mkdir(exist_ok=True)
            (self.folder / ABOUT).write_text(json.dumps(self.about, indent=2))
            living(self.folder, "use")  # sweeps up after others
            self._use = Lease(self.folder, uuid4().hex, "use")
        for path in sorted(self.folder.glob(f"*{SHARD}")):
            if path.stem in self._mapped or path.stem in self._unneeded:
                continue
            rows, tensors = read_shard(path)
            if rows.keys().isdisjoint(wanted):
                self._unneeded.add(path.stem)
                continue
            self._use.add([path.stem])
            os.utime(path)
            self._mapped.add(path.stem)
            self._rows.update({key: (tensors, its) for key, its in rows.items()})
        return {key: image for key, image in wanted.items() if key not in self._rows}

    def _claimed(self, wanted: _Images) -> Iterator[tuple[Lease, _Images]]:
        """Yields images for this process to encode, a shard at a time, until the store has all."""
        per_shard = min(SHARD_VIEWS, SHARD_BYTES // self.format.num_bytes(*self.shape))
        while True:
            with alone(self.root):
                # In this order, a claim that ended in between is a shard that is seen.
                claims = living(self.folder, "claim")
                missing = self._map(wanted)
                taken = {key for keys in claims.values() for key in keys}
                free = {key: image for key, image in missing.items() if key not in taken}
                if free:
                    mine = next(_batches(free, per_shard))
                    claim = self._claim(mine, missing)
            if not missing:
                return
            if free:
                yield claim, mine
            else:
                wait_for(
                    next(c for c, keys in claims.items() if not missing.keys().isdisjoint(keys))
                )

    def _claim(self, mine: _Images, missing: _Images) -> Lease:
        if self.limit is not None:
            coming = sum(map(self._num_bytes, missing.values()))
            self._evicted += make_room(self.root, limit=self.limit, coming=coming)
        claim = Lease(self.folder, uuid4().hex, "claim", mine)
        assert self._use is not None
        self._use.add([claim.name])  # or the shard might be deleted before it is mapped
        return claim

    def _write_shard(self, name: str, images: _Images, encode: Encode, batch_size: int) -> None:
        batches = _batches(images, batch_size)
        packed = [self.format.pack(self._encoded(batch, encode)) for batch in batches]
        tensors = {part: torch.cat([batch[part] for batch in packed]) for part in packed[0]}
        views = {key: image.views for key, image in images.items()}
        write_shard(self.folder / f"{name}{SHARD}", views, tensors)

    def _encoded(self, images: _Images, encode: Encode) -> Float[Tensor, "views patches d_vision"]:
        features = encode([image.path for image in images.values()])
        views = sum(image.views for image in images.values())
        if tuple(features.shape) != (views, *self.shape):
            raise ValueError(
                f"the tower gave features of shape {tuple(features.shape)} for {views} views; the "
                f"store was opened for {self.shape} of each"
            )
        if not features.isfinite().all():
            paths = ", ".join(str(image.path) for image in images.values())
            raise ValueError(
                f"the tower gave features that are no finite numbers for one of {paths}; compute "
                "in float32, or leave the image out"
            )
        return features.to("cpu", self.format.computed)

    def _checked(self, wanted: _Images, encode: Encode, batch_size: int) -> Parity:
        keys = Random(0).sample(list(wanted), min(PARITY_IMAGES, len(wanted)))
        chosen = {key: wanted[key] for key in keys}
        parity = parity_of(
            self([image.path for image in chosen.values()]),
            torch.cat([self._encoded(batch, encode) for batch in _batches(chosen, batch_size)]),
            images=len(chosen),
            tolerance=self.format.tolerance,
        )
        if not parity.holds:
            raise ValueError(
                f"the feature store {self.folder} differs from the tower by "
                f"{parity.max_abs_difference:.3g} (largest feature {parity.max_abs_feature:.3g}, "
                f"least cosine {parity.min_cosine:.3g}); delete the folder, it will be made again"
            )
        return parity


def _batches(images: _Images, num_views: int) -> Iterator[_Images]:
    """Cuts images into parts of at most so many views, or of one image that has more."""
    part: dict[str, _Image] = {}
    views = 0
    for key, image in images.items():
        if part and views + image.views > num_views:
            yield part
            part, views = {}, 0
        part[key] = image
        views += image.views
    if part:
        yield part
