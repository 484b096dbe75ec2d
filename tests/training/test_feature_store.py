"""The store gives what the tower gives, encodes an image once, and survives crashes."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from isthmus.training import feature_store
from isthmus.training.feature_store import FeatureStore
from tests.tiny import tiny_image

SHAPE = (3, 5)


class Tower:
    """Features that follow from the file's content; counts what it is asked."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def __call__(self, paths: Sequence[Path]) -> Tensor:
        self.seen += [path.name for path in paths]
        return torch.stack([self.of(path) for path in paths])

    @staticmethod
    def of(path: Path) -> Tensor:
        generator = torch.Generator().manual_seed(sum(path.read_bytes()))
        return torch.randn(SHAPE, generator=generator)


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    made = [tmp_path / f"{number}.png" for number in range(10)]
    for number, path in enumerate(made):
        tiny_image(number).save(path)
    return made


def _store(tmp_path: Path, dtype: torch.dtype = torch.float32, weights: str = "w") -> FeatureStore:
    root, about = tmp_path / "features", {"weights": weights, "layer": -2}
    return FeatureStore(root, about, num_patches=3, d_vision=5, dtype=dtype)


def _small_shards(monkeypatch: pytest.MonkeyPatch, images: int) -> None:
    monkeypatch.setattr(feature_store, "SHARD_BYTES", images * 3 * 5 * 4)


def test_it_gives_what_the_tower_gives(
    tmp_path: Path, paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    _small_shards(monkeypatch, 4)
    store = _store(tmp_path)
    report = store.fill(paths, Tower(), batch_size=2)
    assert (report.images, report.encoded, report.parity_images) == (10, 10, 8)
    assert report.max_abs_difference == 0.0
    assert len(list(store.folder.glob("*.bin"))) == 3
    asked = [paths[7], paths[0], paths[7]]
    assert torch.equal(store(asked), torch.stack([Tower.of(path) for path in asked]))


def test_another_run_finds_it_and_encodes_only_what_is_new(
    tmp_path: Path, paths: list[Path]
) -> None:
    _store(tmp_path).fill(paths[:6], Tower())
    tower, again = Tower(), _store(tmp_path)
    report = again.fill(paths, tower)
    assert (report.images, report.encoded) == (10, 4)
    assert tower.seen[:4] == [path.name for path in paths[6:]]  # then the parity images
    assert torch.equal(again(paths[:1])[0], Tower.of(paths[0]))


def test_an_image_is_known_by_its_content(tmp_path: Path, paths: list[Path]) -> None:
    copy = tmp_path / "copy.png"
    copy.write_bytes(paths[0].read_bytes())
    report = _store(tmp_path).fill([paths[0], copy], Tower())
    assert (report.images, report.encoded) == (1, 1)
    tiny_image(99).save(copy)
    store = _store(tmp_path)
    assert store.fill([paths[0], copy], Tower()).encoded == 1
    assert torch.equal(store([copy])[0], Tower.of(copy))


def test_other_towers_and_formats_do_not_share(tmp_path: Path, paths: list[Path]) -> None:
    stores = [
        _store(tmp_path),
        _store(tmp_path, weights="other"),
        _store(tmp_path, dtype=torch.bfloat16),
    ]
    assert len({store.folder for store in stores}) == 3
    report = stores[2].fill(paths, Tower())
    assert stores[2](paths).dtype == torch.bfloat16
    assert report.max_abs_difference == 0.0  # the fresh ones are rounded, too
    assert torch.equal(stores[2](paths)[3], Tower.of(paths[3]).bfloat16())


class Crash(BaseException):
    """What a kill looks like from inside."""


@pytest.mark.parametrize("moment", ["encode", "bin", "json"])
def test_a_crash_loses_the_shard_it_wrote_and_nothing_else(
    tmp_path: Path, paths: list[Path], monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    _small_shards(monkeypatch, 4)
    whole = feature_store._write
    shards = 0

    def crash_in_second_shard(path: Path, blocks: object) -> None:
        nonlocal shards
        shards += path.suffix == ".bin"
        if shards == 2 and path.suffix == f".{moment}":
            path.with_name(".torn.unfinished").write_bytes(b"half")
            raise Crash
        whole(path, blocks)

    class Dying(Tower):
        def __call__(self, paths: Sequence[Path]) -> Tensor:
            if moment == "encode" and len(self.seen) == 6:
                raise Crash
            return super().__call__(paths)

    with monkeypatch.context() as patch:
        patch.setattr(feature_store, "_write", crash_in_second_shard)
        with pytest.raises(Crash):
            _store(tmp_path).fill(paths, Dying(), batch_size=2)

    store = _store(tmp_path)
    report = store.fill(paths, Tower(), batch_size=2)
    assert report.encoded == 6  # the first shard of four was safe
    assert torch.equal(store(paths), torch.stack([Tower.of(path) for path in paths]))


def test_two_writers_at_once_do_no_harm(tmp_path: Path, paths: list[Path]) -> None:
    one, other = _store(tmp_path), _store(tmp_path)

    class Racing(Tower):
        def __call__(self, wanted: Sequence[Path]) -> Tensor:
            if not self.seen:
                self.seen.append("")
                other.fill(paths, Tower())
            return super().__call__(wanted)

    one.fill(paths, Racing())
    expected = torch.stack([Tower.of(path) for path in paths])
    assert torch.equal(one(paths), expected)
    assert torch.equal(other(paths), expected)
    assert _store(tmp_path).fill(paths, Tower()).encoded == 0


def test_wrong_features_are_found_by_the_parity_check(tmp_path: Path, paths: list[Path]) -> None:
    store = _store(tmp_path)
    store.fill(paths, Tower())
    (shard,) = store.folder.glob("*.bin")
    shard.write_bytes(bytes(len(shard.read_bytes())))
    with pytest.raises(ValueError, match=r"differs from the tower by .*; delete the folder"):
        _store(tmp_path).fill(paths, Tower())


def test_a_truncated_shard_is_named(tmp_path: Path, paths: list[Path]) -> None:
    store = _store(tmp_path)
    store.fill(paths, Tower())
    (shard,) = store.folder.glob("*.bin")
    shard.write_bytes(shard.read_bytes()[:-4])
    with pytest.raises(ValueError, match=r"is not the array that .*\.json lists; delete both"):
        _store(tmp_path).fill(paths, Tower())


def test_a_tower_of_another_shape_is_refused(tmp_path: Path, paths: list[Path]) -> None:
    store = FeatureStore(tmp_path, {}, num_patches=4, d_vision=5, dtype=torch.float32)
    with pytest.raises(ValueError, match=r"shape \(3, 5\) per image; the store was opened for"):
        store.fill(paths, Tower())
