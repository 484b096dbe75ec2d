"""Killed at any step and in any moment, a run ends with the weights of one that was not."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from isthmus.training.log import read_log
from isthmus.training.stage import Recipe
from tests.training.tiny_recipe import tiny_recipe

STEPS = 60
MOMENTS = ("before", "updated", "writing", "moving")
SCRIPT = """
import os, signal, sys
from pathlib import Path
from isthmus.cli import main
from isthmus.training import checkpoint, loop

step, moment = int(sys.argv.pop(1)), sys.argv.pop(1)

def at(where, function, reached):
    def dying(*args, **options):
        if moment == where and reached(*args, **options):
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*args, **options)
    return dying

loop.take_step = at("before", loop.take_step, lambda *a: loop.now.position.step + 1 == step)
after = checkpoint.Position.after
checkpoint.Position.after = at("updated", after, lambda self, *a, **o: self.step + 1 == step)
save = checkpoint.save_file
checkpoint.save_file = at("writing", save, lambda w, path: int(path.parent.name[12:]) >= step)
rename = Path.rename
Path.rename = at("moving", rename, lambda a, b: "step-" in b.name and int(b.name[5:]) >= step)
run_stage = loop._run_stage
def remembered(run, prepared):
    loop.now = run
    return run_stage(run, prepared)
loop._run_stage = remembered
sys.exit(main())
"""


def train(recipe: Recipe, output: Path, *, kill: tuple[int, str] = (-1, "")) -> int:
    """Trains in a process of its own, which kills itself in a moment of a step; returns its end."""
    (output.parent / "run.py").write_text(SCRIPT)
    (output.parent / "tests.json").write_text(json.dumps(recipe.to_dict()))
    words = ["train", str(output.parent / "tests.json"), "--output", str(output), "--resume"]
    done = subprocess.run(
        [sys.executable, str(output.parent / "run.py"), str(kill[0]), kill[1], *words],
        env={**os.environ, "ISTHMUS_CACHE": str(output.parent / "cache")},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode in (0, -9), done.stdout + done.stderr
    return done.returncode


def survives(folder: Path, kills: list[tuple[int, str]]) -> None:
    recipe = tiny_recipe(folder, epochs=STEPS // 6)
    assert train(recipe, folder / "whole") == 0
    for kill in kills:
        assert train(recipe, folder / "killed", kill=kill) == -9, kill
    assert train(recipe, folder / "killed") == 0
    whole, killed = (load_file(folder / n / "model.safetensors") for n in ("whole", "killed"))
    assert all(torch.equal(whole[name], killed[name]) for name in whole)
    resumes = [row["resumed_from"] for row in read_log(folder / "killed") if "resumed_from" in row]
    assert len(resumes) >= len(kills) - sum(step <= STEPS // 10 for step, _ in kills)
    losses = [
        {r["step"]: r["loss"] for r in read_log(folder / n) if "loss" in r}
        for n in ("whole", "killed")
    ]
    assert losses[0] == losses[1]
    assert len(losses[0]) == STEPS


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_many_kills_change_nothing(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    steps = sorted(chance.sample(range(1, STEPS + 1), 6))
    survives(tmp_path, [(step, chance.choice(MOMENTS)) for step in steps])
