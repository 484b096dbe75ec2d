"""The installed command in a process of its own: killed without warning, and compiled for real."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.cli.conftest import World, json_lines

ISTHMUS = Path(sys.executable).parent / "isthmus"
pytestmark = pytest.mark.slow


def train(world: World, output: Path, *more: str) -> list[str]:
    words = ["train", str(world.recipe), "--output", str(output), *more]
    return [str(ISTHMUS), *words, "--stages.0.schedule.batch-size", "1"]


def losses(output: Path) -> list[float]:
    return [line["loss"] for line in json_lines(output / "log.jsonl") if "loss" in line]


def test_a_killed_run_resumes_to_the_same_weights(world: World, tmp_path: Path) -> None:
    more = ["--stages.0.schedule.epochs", "8"]
    subprocess.run(train(world, tmp_path / "whole", *more), check=True, capture_output=True)
    killed = tmp_path / "killed"
    running = subprocess.Popen(train(world, killed, *more), stdout=subprocess.DEVNULL)
    while running.poll() is None and not list(killed.glob("checkpoints/step-*")):
        time.sleep(0.005)
    running.kill()
    assert running.wait() == -9
    subprocess.run([*train(world, killed, *more), "--resume"], check=True, capture_output=True)
    resumed = [line for line in json_lines(killed / "log.jsonl") if "resumed_from" in line]
    assert 0 < resumed[0]["resumed_from"] < 96
    one, other = (load_file(tmp_path / n / "model.safetensors") for n in ("whole", "killed"))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_compiled_model_learns_the_same(world: World, tmp_path: Path) -> None:
    for name, flag in (("plain", "--stages.0.no-compile"), ("compiled", "--stages.0.compile")):
        words = train(world, tmp_path / name, flag)
        subprocess.run(words, check=True, capture_output=True)
    assert losses(tmp_path / "compiled") == pytest.approx(losses(tmp_path / "plain"), rel=1e-3)
    # The saved model is the plain one: nothing of the compilation stays in the names.
    plain, compiled = (load_file(tmp_path / n / "model.safetensors") for n in ("plain", "compiled"))
    assert compiled.keys() == plain.keys()
