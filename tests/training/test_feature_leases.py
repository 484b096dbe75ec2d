"""Processes share the work of filling a store, and outlive each other's deaths."""

import json
import os
import signal
from collections.abc import Callable, Sequence
from multiprocessing import get_context
from pathlib import Path
from time import sleep
from typing import Any

import pytest
import torch
from torch import Tensor

from isthmus.data.media import digest_of
from isthmus.training import feature_store
from isthmus.training.feature_leases import Lease, alone, living, wait_for
from isthmus.training.feature_shards import read_shard
from tests.training.tiny_tower import (
    Tower,
    begin,
    end_of,
    features_of,
    features_of_all,
    tiny_store,
    write_images,
)

# The processes of a test run that is forked have one thread that matters.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_lease_lives_as_long_as_its_owner(tmp_path: Path) -> None:
    def take(ready: Any) -> None:
        lease = Lease(tmp_path, "b", "claim", ["two"])
        (tmp_path / "b.unfinished").write_text("half")
        ready.set()
        signal.pause()
        lease.release()

    ready = get_context("fork").Event()
    mine = Lease(tmp_path, "a", "claim", ["one"])
    mine.add(["more"])
    other = begin(take, ready)
    assert ready.wait(60)
    a, b = tmp_path / "a.claim", tmp_path / "b.claim"
    assert living(tmp_path, "claim") == {a: ["one", "more"], b: ["two"]}
    assert living(tmp_path, "use") == {}
    other.kill()
    wait_for(b)
    assert (tmp_path / "b.unfinished").exists()
    assert living(tmp_path, "claim") == {a: ["one", "more"]}
    assert [path.name for path in tmp_path.iterdir()] == ["a.claim"]
    assert end_of(other) == -signal.SIGKILL
    mine.release()
    wait_for(a)
    assert living(tmp_path, "claim") == {}
    wait_for(a)  # which is swept up


def test_one_at_a_time_is_alone_and_the_dead_are_not(tmp_path: Path) -> None:
    def enter(moment: str) -> None:
        with alone(tmp_path):
            (tmp_path / moment).touch()
            if moment == "dying":
                die()

    assert end_of(begin(enter, "dying")) == -signal.SIGKILL
    with alone(tmp_path):
        waiting = begin(enter, "waiting")
        waiting.join(timeout=0.1)
        assert not (tmp_path / "waiting").exists()
    assert end_of(waiting) == 0
    assert (tmp_path / "waiting").exists()


def test_writers_share_the_work_and_take_over_from_one_that_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three begin together; one dies when nothing is left but what it had claimed."""
    monkeypatch.setattr(feature_store, "SHARD_VIEWS", 4)
    paths = write_images(tmp_path, 40)
    together = get_context("fork").Barrier(3)

    def write(name: str, dies: bool) -> None:
        class Together(Tower):
            def __call__(self, paths: Sequence[Path]) -> Tensor:
                if not self.seen:
                    together.wait(60)
                elif dies:
                    while len(list(store.folder.glob("*.safetensors"))) < 9:
                        sleep(0.001)
                    die()
                return super().__call__(paths)

        store, tower = tiny_store(tmp_path), Together()
        report = store.fill(paths, tower, batch_size=2)
        assert torch.equal(store(paths), features_of_all(paths))
        # Every image that a writer looked at is accounted for: it was claimed, or for parity.
        assert len(tower.seen) == report.encoded + report.parity.parity_images
        assert report.new == 40
        (tmp_path / name).write_text(json.dumps(report.to_dict()))

    writers = [begin(write, str(number), number == 2) for number in range(3)]
    folder, seen = tiny_store(tmp_path).folder, 0
    by_hash = {digest_of(path): path for path in paths}
    while any(writer.is_alive() for writer in writers) or seen == 0:
        for shard in folder.glob("*.safetensors"):  # a reader never sees a torn one
            rows, tensors = read_shard(shard)
            for key, its in rows.items():
                assert torch.equal(tensors["features"][its], features_of(by_hash[key]))
                seen += 1
        sleep(0.001)
    assert [end_of(writer) for writer in writers] == [0, 0, -signal.SIGKILL]
    encoded = [json.loads((tmp_path / name).read_text())["encoded"] for name in "01"]
    assert sum(encoded) == 40
    assert min(encoded) >= 4
    assert len(list(folder.glob("*.safetensors"))) == 10
    again = tiny_store(tmp_path)
    assert again.fill(paths, Tower()).encoded == 0
    left = {path.suffix for path in folder.iterdir()} - {".json", ".safetensors"}
    assert left == {".use"}
    assert len(list(folder.glob("*.use"))) == 1


def _at(step: str, call: Callable[..., Any], number: int) -> Callable[..., Any]:
    """Returns a function that dies before or after its call of a number."""
    calls = 0

    def dying(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == number and step == "before":
            die()
        result = call(*arguments)
        if calls == number:
            die()
        return result

    return dying


@pytest.mark.parametrize(
    ("where", "step", "lost"),
    [
        ("encode", "before", 6),
        ("encode", "after", 6),
        ("claim", "after", 6),
        ("fsync", "before", 6),
        ("rename", "before", 6),
        ("rename", "after", 2),
    ],
)
def test_a_kill_loses_the_shard_that_was_being_written_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, step: str, lost: int
) -> None:
    monkeypatch.setattr(feature_store, "SHARD_VIEWS", 4)
    paths = write_images(tmp_path, 10)

    def write() -> None:
        tower: Any = Tower()
        if where == "encode":
            tower = _at(step, tower, 4)
        elif where == "claim":
            second = _at(step, Lease, 3)  # the first lease of all is the use
            monkeypatch.setattr(feature_store, "Lease", second)
        elif where == "fsync":
            monkeypatch.setattr(os, "fsync", _at(step, os.fsync, 2))
        else:
            monkeypatch.setattr(Path, "rename", _at(step, Path.rename, 2))
        tiny_store(tmp_path).fill(paths, tower, batch_size=2)

    assert end_of(begin(write)) == -signal.SIGKILL
    store = tiny_store(tmp_path)
    assert store.fill(paths, Tower(), batch_size=2).encoded == lost
    assert torch.equal(store(paths), features_of_all(paths))
    assert not list(store.folder.glob("*.unfinished"))
    assert len(list(store.folder.glob("*.safetensors"))) == 3


def test_a_tower_that_fails_leaves_its_images_to_others(tmp_path: Path) -> None:
    paths = write_images(tmp_path, 3)

    def fail(paths: Sequence[Path]) -> Tensor:
        raise RuntimeError("out of memory")

    store = tiny_store(tmp_path)
    with pytest.raises(RuntimeError, match="out of memory") as kept:
        store.fill(paths, fail)
    assert kept.traceback  # in which the claim is, still
    assert tiny_store(tmp_path).fill(paths, Tower()).encoded == 3
    assert store.fill(paths, Tower()).encoded == 0
