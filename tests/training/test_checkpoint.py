"""A checkpoint holds what was trained and all chance; a crash never harms the last good one."""

import random
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from torch import nn

from isthmus.modeling.weights import weights_of
from isthmus.training import checkpoint
from isthmus.training.chance import random_states, set_random_states
from isthmus.training.checkpoint import (
    CHECKPOINTS,
    Position,
    best_checkpoint,
    last_checkpoint,
    save_checkpoint,
)
from isthmus.training.course import Planned
from isthmus.training.step import StepCounts
from tests.training.numbers import Numbers

FAR = Position(stage=1, stage_step=3, step=7, samples=50, tokens=900, step_seconds=1.5, seconds=2.5)


def _net() -> nn.Sequential:
    return nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 3), nn.Linear(3, 2, bias=False))


def _save(output: Path, net: nn.Sequential, position: Position = FAR, **changes: Any) -> Path:
    optimizer = torch.optim.AdamW(net[1].parameters(), lr=0.1, fused=True)
    net(torch.ones(4, 2)).sum().backward()
    optimizer.step()
    return save_checkpoint(
        output,
        position=position,
        weights=weights_of(net, [*net[1].parameters()]),
        relies_on={"tower": "abc"},
        optimizer=optimizer,
        accelerator=Accelerator(cpu=True),
        **changes,
    )


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    net = _net()
    folder = _save(tmp_path, net)
    drawn = (random.random(), np.random.rand(), torch.rand(1).item())
    found = last_checkpoint(tmp_path)
    assert found is not None
    assert (found.folder, found.position) == (folder, FAR)

    other = _net()
    frozen = other[0].weight.clone()
    found.load_weights(other)
    assert torch.equal(other[1].weight, net[1].weight)
    assert torch.equal(other[0].weight, frozen)
    optimizer = torch.optim.AdamW(other[1].parameters(), lr=0.5, fused=True)
    found.load_optimizer(optimizer)
    assert optimizer.param_groups[0]["lr"] == 0.1
    assert all(state["exp_avg"].abs().sum() > 0 for state in optimizer.state.values())
    for process in (0, 1):  # a process that was not there takes the first one's chance
        found.load_random_states(process)
        assert (random.random(), np.random.rand(), torch.rand(1).item()) == drawn


def test_only_trained_weights_are_held_and_tied_ones_once(tmp_path: Path) -> None:
    net = _net()
    net[2].weight = net[1].weight
    assert set(weights_of(net, [*net[1].parameters()])) == {"1.weight", "1.bias"}
    with_buffers = nn.Sequential(nn.BatchNorm1d(2))
    assert "0.running_mean" in weights_of(with_buffers, [*with_buffers.buffers()])


def test_another_architecture_is_refused(tmp_path: Path) -> None:
    _save(tmp_path, _net())
    found = last_checkpoint(tmp_path)
    assert found is not None
    for other in (nn.Sequential(nn.Linear(2, 3)), nn.Sequential(nn.ReLU(), nn.Linear(4, 4))):
        with pytest.raises(ValueError, match="of another architecture"):
            found.load_weights(other)


def test_other_frozen_weights_are_refused(tmp_path: Path) -> None:
    _save(tmp_path, _net())
    found = last_checkpoint(tmp_path)
    assert found is not None
    found.check({"tower": "abc"})
    with pytest.raises(ValueError, match="written with the tower abc, but now it is def"):
        found.check({"tower": "def"})


def test_the_newest_two_are_kept(tmp_path: Path) -> None:
    for step in (9, 99, 100):
        _save(tmp_path, _net(), Position(step=step))
    names = sorted(folder.name for folder in (tmp_path / CHECKPOINTS).iterdir())
    assert names == ["step-00000099", "step-00000100"]
    found = last_checkpoint(tmp_path)
    assert found is not None
    assert found.position.step == 100


def test_the_best_and_those_to_keep_stay(tmp_path: Path) -> None:
    assert best_checkpoint(tmp_path) is None
    for step in range(1, 9):
        _save(tmp_path, _net(), Position(step=step), best=step in (1, 4), keep=step % 3 == 0)
    steps = sorted(int(folder.name[5:]) for folder in (tmp_path / CHECKPOINTS).iterdir())
    assert steps == [3, 4, 6, 7, 8]
    best = best_checkpoint(tmp_path)
    assert best is not None
    assert best.position.step == 4


@pytest.mark.skipif(sys.platform == "win32", reason="limits of a process are POSIX")
def test_a_full_disk_leaves_the_last_good_one_and_says_what_to_do(tmp_path: Path) -> None:
    import resource

    _save(tmp_path, _net(), Position(step=1))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for room in (0, 300, 1000, 1500):  # bytes; each file fails in one of them
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
        try:
            with pytest.raises(OSError, match=r"step 2 cannot be written .* --resume"):
                _save(tmp_path, _net(), Position(step=2))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert [f.name for f in (tmp_path / CHECKPOINTS).iterdir()] == ["step-00000001"]
        found = last_checkpoint(tmp_path)
        assert found is not None
        assert found.position.step == 1


@pytest.mark.parametrize("moment", ["save_file", "_to_disk"])
def test_a_crash_while_writing_leaves_the_last_good_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    _save(tmp_path, _net(), Position(step=1))

    def crash(*_: object) -> None:
        raise OSError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, moment, crash)
        with pytest.raises(OSError, match="No space"):
            _save(tmp_path, _net(), Position(step=2))
    found = last_checkpoint(tmp_path)
    assert found is not None
    assert found.position.step == 1
    _save(tmp_path, _net(), Position(step=2))
    found = last_checkpoint(tmp_path)
    assert found is not None
    assert found.position.step == 2


@pytest.mark.parametrize(
    "file", ["trained.safetensors", "optimizer.pt", "random-0.pt", "state.json"]
)
def test_the_one_before_stands_in_for_a_damaged_checkpoint(tmp_path: Path, file: str) -> None:
    older, newer = (_save(tmp_path, _net(), Position(step=step)) for step in (1, 2))
    whole = (newer / file).read_bytes()
    for damaged in (whole[: len(whole) // 2], b""):
        (newer / file).write_bytes(damaged)
        found = last_checkpoint(tmp_path)
        assert found is not None
        assert (found.folder, found.damaged) == (older, (newer,))
    (older / file).unlink()
    with pytest.raises(ValueError, match=r"step-00000002 and .*step-00000001 cannot be read"):
        last_checkpoint(tmp_path)


def test_no_checkpoint_is_none(tmp_path: Path) -> None:
    assert last_checkpoint(tmp_path) is None
    (tmp_path / CHECKPOINTS / ".unfinished-00000001").mkdir(parents=True)
    assert last_checkpoint(tmp_path) is None


def test_positions_advance_by_what_a_step_held() -> None:
    counts = StepCounts(items=(7.0,), samples=4, tokens=99, refused=1)
    planned = Planned(dataset=Numbers(9), indices=range(5), next=(2, 0), refused=2, filtered=3)
    assert FAR.after(counts, planned, seconds=0.5) == Position(
        stage=1,
        stage_step=4,
        place=(2, 0),
        step=8,
        samples=54,
        tokens=999,
        refused=3,
        filtered=3,
        step_seconds=2.0,
        seconds=2.5,
    )


def test_random_states_come_back() -> None:
    states = random_states()
    drawn = [random.gauss(0, 1), np.random.randn(), torch.randn(1).item()]
    set_random_states(states)
    assert [random.gauss(0, 1), np.random.randn(), torch.randn(1).item()] == drawn
