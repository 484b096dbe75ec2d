"""All stores together keep to a limit, and what a living run has open stays."""

import os
import signal
from collections.abc import Sequence
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.training import feature_store
from tests.training.tiny_tower import (
    Tower,
    begin,
    end_of,
    features_of_all,
    tiny_store,
    write_images,
)

# The processes of a test run that is forked have one thread that matters.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")

IMAGE = 30 * 50 * 4 + feature_store.INDEX_BYTES
"""Bytes of an image, at most."""


def lacks(folder: Path, weights: str, paths: Sequence[Path]) -> int:
    """Fills a store for a moment, and returns how many images it lacked."""
    report = tiny_store(folder, weights=weights).fill(paths, Tower())
    return report.new


def aged(folder: Path, weights: str, seconds: int) -> None:
    """Makes a store look as if it had been used so long ago."""
    for shard in tiny_store(folder, weights=weights).folder.glob("*.safetensors"):
        status = shard.stat()
        os.utime(shard, (status.st_atime, status.st_mtime - seconds))


def size(root: Path) -> int:
    return sum(file.stat().st_size for file in root.rglob("*.safetensors"))


def test_the_longest_unused_goes_first(tmp_path: Path) -> None:
    paths = write_images(tmp_path, 10)
    for weights, seconds in (("a", 30), ("b", 20), ("c", 10)):
        assert lacks(tmp_path, weights, paths) == 10
        aged(tmp_path, weights, seconds)
    assert lacks(tmp_path, "a", paths) == 0  # which is a use
    report = tiny_store(tmp_path, weights="d", limit=30 * IMAGE).fill(paths, Tower())
    assert report.evicted == 1
    assert [lacks(tmp_path, weights, paths) for weights in "acdb"] == [0, 0, 0, 10]


def test_other_images_of_the_same_tower_go_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feature_store, "SHARD_VIEWS", 5)
    paths = write_images(tmp_path, 20)
    assert lacks(tmp_path, "a", paths[:10]) == 10
    store = tiny_store(tmp_path, weights="a", limit=15 * IMAGE)
    report = store.fill(paths[8:], Tower())  # of the first two shards, the second is needed
    assert (report.new, report.encoded, report.evicted) == (10, 10, 1)
    assert torch.equal(store(paths[8:]), features_of_all(paths[8:]))


def test_what_a_living_run_has_open_stays(tmp_path: Path) -> None:
    paths = write_images(tmp_path, 10)

    def live(ready: Any) -> None:
        store = tiny_store(tmp_path, weights="a")
        store.fill(paths, Tower())
        ready.set()
        signal.pause()
        store(paths)

    ready = get_context("fork").Event()
    assert lacks(tmp_path, "a", paths[:5]) == 5
    other = begin(live, ready)  # which finds one shard, and makes another
    assert ready.wait(60)
    aged(tmp_path, "a", 1000)
    assert lacks(tmp_path, "b", paths) == 10
    tower = Tower()
    with pytest.raises(ValueError, match=r"living runs, this one included, use .*are to come"):
        tiny_store(tmp_path, weights="c", limit=15 * IMAGE).fill(paths, tower)
    assert tower.seen == []
    assert lacks(tmp_path, "b", paths) == 0  # nothing goes in vain
    tiny_store(tmp_path, weights="c", limit=25 * IMAGE).fill(paths, Tower())
    assert [lacks(tmp_path, weights, paths) for weights in "acb"] == [0, 0, 10]
    other.kill()
    assert end_of(other) == -signal.SIGKILL
    aged(tmp_path, "a", 1000)
    tiny_store(tmp_path, weights="d", limit=25 * IMAGE).fill(paths, Tower())
    assert lacks(tmp_path, "a", paths) == 10


def test_features_stay_readable_when_somebody_deletes_them(tmp_path: Path) -> None:
    paths = write_images(tmp_path, 10)
    store = tiny_store(tmp_path)
    store.fill(paths, Tower())
    for file in store.folder.iterdir():
        file.unlink()
    assert torch.equal(store(paths), features_of_all(paths))


def test_a_limit_that_is_too_small_for_the_run_is_refused_before_the_tower_runs(
    tmp_path: Path,
) -> None:
    paths = write_images(tmp_path, 10)
    assert lacks(tmp_path, "a", paths) == 10
    tower, store = Tower(), tiny_store(tmp_path, weights="b", limit=9 * IMAGE)
    with pytest.raises(ValueError, match=r"10 images take 6.06e-05 GiB as float32.* 5.46e-05 GiB"):
        store.fill(paths, tower)
    assert tower.seen == []
    assert lacks(tmp_path, "a", paths) == 0
    small = tiny_store(tmp_path, weights="b", limit=9 * IMAGE, on_disk="int8")
    assert small.fill(paths, Tower()).evicted == 1


def test_stores_of_the_first_format_are_not_read_and_go_whole(tmp_path: Path) -> None:
    paths = write_images(tmp_path, 10)
    old = tmp_path / "features/0123456789ab"
    old.mkdir(parents=True)
    (old / "about.json").write_text("{}")
    for name, seconds in (("ab", 20), ("cd", 10)):
        for suffix, num_bytes in (("bin", 9 * IMAGE), ("json", IMAGE)):
            file = old / f"{name}.{suffix}"
            file.write_bytes(bytes(num_bytes))
            os.utime(file, (0, file.stat().st_mtime - seconds))
    assert lacks(tmp_path, "a", paths) == 10
    tiny_store(tmp_path, weights="b", limit=30 * IMAGE).fill(paths, Tower())
    assert sorted(file.name for file in old.iterdir()) == ["about.json", "cd.bin", "cd.json"]


FILLS = st.lists(
    st.tuples(st.sampled_from("ab"), st.sets(st.integers(0, 11), min_size=1, max_size=6)),
    min_size=1,
    max_size=6,
)


@settings(max_examples=10, deadline=None)
@given(fills=FILLS)
def test_the_limit_holds_whatever_is_asked(fills: list[tuple[str, set[int]]]) -> None:
    limit = 8 * IMAGE
    with TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        patch.setattr(feature_store, "SHARD_VIEWS", 1)
        paths = write_images(Path(name), 12)
        for weights, numbers in fills:
            asked = [paths[number] for number in sorted(numbers)]
            store = tiny_store(Path(name), weights=weights, limit=limit)
            store.fill(asked, Tower())
            assert torch.equal(store(asked), features_of_all(asked))
            assert size(store.root) <= limit
            del store
