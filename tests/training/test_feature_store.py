"""The store gives what the tower gives, encodes an image once, and keeps the views of each."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from isthmus.training import feature_store
from isthmus.training.feature_formats import FeatureDtype
from tests.training.tiny_tower import (
    SHAPE,
    Tower,
    features_of,
    features_of_all,
    tiny_store,
    write_images,
)


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    return write_images(tmp_path, 10)


def test_it_gives_what_the_tower_gives(
    tmp_path: Path, paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feature_store, "SHARD_BYTES", 4 * 30 * 50 * 4)
    store = tiny_store(tmp_path)
    report = store.fill(paths, Tower(), batch_size=2)
    assert (report.images, report.views, report.new, report.encoded) == (10, 10, 10, 10)
    assert (report.parity.parity_images, report.parity.max_abs_difference) == (8, 0.0)
    assert report.to_dict()["parity_images"] == 8
    shards = list(store.folder.glob("*.safetensors"))
    assert sorted(len(load_file(shard)["features"]) for shard in shards) == [2, 4, 4]
    assert sum(shard.stat().st_size for shard in shards) <= report.bytes
    asked = [paths[7], paths[0], paths[7]]
    assert torch.equal(store(asked), features_of_all(asked))


def test_another_run_finds_it_and_encodes_only_what_is_new(
    tmp_path: Path, paths: list[Path]
) -> None:
    tiny_store(tmp_path).fill(paths[:6], Tower())
    tower, again = Tower(), tiny_store(tmp_path)
    report = again.fill(paths, tower)
    assert (report.images, report.new, report.encoded) == (10, 4, 4)
    assert tower.seen[:4] == [path.name for path in paths[6:]]  # then the parity images
    assert torch.equal(again(paths), features_of_all(paths))


def test_a_store_is_filled_again_with_what_others_left_there(
    tmp_path: Path, paths: list[Path]
) -> None:
    tiny_store(tmp_path).fill(paths[:5], Tower())
    store = tiny_store(tmp_path)
    store.fill(paths[5:], Tower())  # which needs nothing of the other shard
    assert store.fill(paths, Tower()).encoded == 0
    assert torch.equal(store(paths), features_of_all(paths))


def test_an_image_is_known_by_its_content(tmp_path: Path, paths: list[Path]) -> None:
    copy = tmp_path / "copy.png"
    copy.write_bytes(paths[0].read_bytes())
    report = tiny_store(tmp_path).fill([paths[0], copy], Tower())
    assert (report.images, report.encoded) == (1, 1)
    copy.write_bytes(b"something else")
    store = tiny_store(tmp_path)
    assert store.fill([paths[0], copy], Tower()).encoded == 1
    assert torch.equal(store([copy]), features_of(copy))


def test_other_towers_and_formats_do_not_share(tmp_path: Path) -> None:
    stores = [
        tiny_store(tmp_path),
        tiny_store(tmp_path, weights="other"),
        tiny_store(tmp_path, dtype=torch.bfloat16),
        tiny_store(tmp_path, on_disk="bfloat16"),
        tiny_store(tmp_path, on_disk="int8"),
        tiny_store(tmp_path, dtype=torch.bfloat16, on_disk="int8"),
    ]
    assert len({store.folder for store in stores}) == 6
    same = tiny_store(tmp_path, dtype=torch.bfloat16, on_disk="bfloat16")
    assert same.folder == stores[2].folder


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("on_disk", ["as computed", "bfloat16", "int8"])
def test_each_format_is_read_as_computed_and_reports_what_it_costs(
    tmp_path: Path, paths: list[Path], dtype: torch.dtype, on_disk: FeatureDtype
) -> None:
    store = tiny_store(tmp_path, dtype=dtype, on_disk=on_disk)
    report = store.fill(paths, Tower())
    assert store(paths).dtype == dtype
    stored, online = store(paths).float(), features_of_all(paths).to(dtype).float()
    exact = store.format.on_disk == dtype
    assert torch.equal(stored, online) == exact
    parity = report.parity
    assert (parity.max_abs_difference == 0.0) == exact
    # Beside the noise of the computation, which the tiny tower has not.
    assert parity.relative_difference <= {"int8": 1 / 254, "bfloat16": 2**-8}.get(on_disk, 0) + (
        0 if exact or dtype == torch.float32 else 2**-8
    )
    assert parity.max_abs_difference == pytest.approx(
        parity.relative_difference * parity.max_abs_feature
    )
    assert parity.min_cosine > 0.9999
    (shard,) = store.folder.glob("*.safetensors")
    assert load_file(shard)["features"].dtype == store.format.on_disk


def test_the_views_of_an_image_stay_together(tmp_path: Path, paths: list[Path]) -> None:
    def views(path: Path) -> int:
        return (1, 5, 3)[int(path.stem) % 3]

    tower, store = Tower(views), tiny_store(tmp_path, on_disk="int8")
    report = store.fill(paths, tower, views=tower.count, batch_size=4)
    assert (report.images, report.views) == (10, sum(tower.count(paths)))
    assert max(tower.batches) == 5  # an image of five views, alone
    assert 4 in tower.batches  # of one view and of three
    asked = [paths[4], paths[0], paths[2], paths[4]]
    expected = torch.cat([features_of(path, views(path)) for path in asked])
    assert len(expected) == 5 + 1 + 3 + 5
    torch.testing.assert_close(
        store(asked), expected, rtol=0, atol=expected.abs().max().item() / 254
    )
    again = tiny_store(tmp_path, on_disk="int8")
    assert again.fill(paths, tower, views=tower.count).encoded == 0
    assert torch.equal(again(asked), store(asked))


def test_other_views_than_counted_are_refused(tmp_path: Path, paths: list[Path]) -> None:
    store = tiny_store(tmp_path)
    with pytest.raises(
        ValueError, match=r"shape \(10, 30, 50\) for 20 views; the store was opened"
    ):
        store.fill(paths, Tower(), views=lambda paths: [2] * len(paths))


def test_a_tower_of_another_shape_is_refused(tmp_path: Path, paths: list[Path]) -> None:
    store = tiny_store(tmp_path, num_patches=4)
    with pytest.raises(ValueError, match=r"the store was opened for \(4, 50\) of each"):
        store.fill(paths, Tower())


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_what_is_no_number_is_not_stored(tmp_path: Path, paths: list[Path], wrong: float) -> None:
    store = tiny_store(tmp_path, on_disk="int8")
    with pytest.raises(ValueError, match=r"no finite numbers for one of .*00\.png"):
        store.fill(paths, lambda paths: torch.full((len(paths), *SHAPE), wrong))
    assert not list(store.folder.glob("*.safetensors"))


@pytest.mark.parametrize("on_disk", ["as computed", "bfloat16", "int8"])
def test_wrong_features_are_found_by_the_parity_check(
    tmp_path: Path, paths: list[Path], on_disk: FeatureDtype
) -> None:
    store = tiny_store(tmp_path, on_disk=on_disk)
    store.fill(paths, Tower())
    (shard,) = store.folder.glob("*.safetensors")
    content = bytearray(shard.read_bytes())
    size = store.format.num_bytes(*SHAPE) * len(paths)
    content[-size:] = bytes(size)
    shard.write_bytes(content)
    with pytest.raises(ValueError, match=r"differs from the tower by .*; delete the folder"):
        tiny_store(tmp_path, on_disk=on_disk).fill(paths, Tower())


def test_a_damaged_shard_is_named(tmp_path: Path, paths: list[Path]) -> None:
    store = tiny_store(tmp_path)
    store.fill(paths, Tower())
    (shard,) = store.folder.glob("*.safetensors")
    whole = shard.read_bytes()
    for damaged in (whole[:-4], whole[:20], b""):
        shard.write_bytes(damaged)
        with pytest.raises(ValueError, match=rf"{shard.name} is no shard of a feature store"):
            tiny_store(tmp_path).fill(paths, Tower())
    save_file({"other": torch.zeros(1)}, shard)
    with pytest.raises(ValueError, match=rf"{shard.name} is no shard of a feature store"):
        tiny_store(tmp_path).fill(paths, Tower())
