"""Two processes are one: the same losses, the same weights, and checkpoints that both can read."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from isthmus.training.data import MixtureData
from isthmus.training.log import read_log
from isthmus.training.processes import join_processes
from isthmus.training.stage import Part, PartName, Recipe
from tests.tiny import save_language, save_vision
from tests.tiny_data import rows
from tests.training.tiny_mixture import write_mixture
from tests.training.tiny_recipe import tiny_recipe

DIE_AFTER = """
from isthmus.training import loop
whole = loop._checkpoint
def dying(run, *args, **options):
    whole(run, *args, **options)
    if run.position.step == {step}:
        raise SystemExit(9)
loop._checkpoint = dying
"""
WITNESSED = """
import json
from pathlib import Path
from safetensors.torch import save_file
from torch.distributed.tensor import DTensor
from isthmus.training import loop
from isthmus.training.sharding import gathered
usual, output = loop.take_step, sys.argv[sys.argv.index("--output") + 1]
def witnessed(learner, pieces, accelerator, dtype):
    pieces = list(pieces)
    found = usual(learner, pieces, accelerator, dtype)
    weights = dict(accelerator.unwrap_model(learner).named_parameters())
    told = {
        "shows": any(piece.batch.pixel_values is not None for piece in pieces),
        "shards": sum(isinstance(weight, DTensor) for weight in weights.values()),
    }
    file = Path(f"{output}-seen-{accelerator.process_index}.jsonl")
    if not file.exists():
        by_name = {name: value.grad for name, value in weights.items() if value.grad is not None}
        of_this = f"{output}-gradients-{accelerator.process_index}.safetensors"
        save_file(gathered(by_name), of_this)
    with file.open("a") as lines:
        lines.write(json.dumps(told) + "\\n")
    return found
loop.take_step = witnessed
"""
"""Has each process write down of each step whether its samples show images, and of the first one
the gradients."""


def train(
    recipe: Recipe,
    output: Path,
    *,
    processes: int,
    die_after: int | None = None,
    patch: str = "",
) -> None:
    """Trains from the command line; `die_after` a step's checkpoint, every process is gone."""
    file = output.parent / "recipe-of-the-test.json"
    file.write_text(json.dumps(recipe.to_dict()))
    patch += DIE_AFTER.format(step=die_after) if die_after else ""
    script = output.parent / "run.py"
    script.write_text(f"import sys\nfrom isthmus.cli import main\n{patch}\nsys.exit(main())\n")
    words = ["train", str(file), "--output", str(output), "--resume"]
    launch = ["-m", "accelerate.commands.launch", "--num_processes", str(processes)]
    launch += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"]
    # Without a GPU, accelerate starts one process alone unless it is told of several GPUs.
    launch += ["--multi_gpu", "--main_process_port", "0"] if processes > 1 else []
    command: Sequence[str] = [sys.executable, *launch, str(script), *words]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ISTHMUS_CACHE": str(output.parent / "c")}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=240
    )
    assert (done.returncode == 0) == (die_after is None), done.stdout + done.stderr
    if die_after is None:
        assert json.loads((output / "recipe.json").read_text())["processes"] == processes


def column(output: Path, name: str) -> list[float]:
    lines = {line["step"]: line for line in read_log(output) if "loss" in line}
    return [lines[step][name] for step in sorted(lines)]


def losses(output: Path) -> list[float]:
    return column(output, "loss")


def validations(output: Path) -> list[float]:
    return [line["validation_loss"] for line in read_log(output) if "validation_loss" in line]


def seen(output: Path) -> list[list[dict[str, Any]]]:
    """What the processes of a `WITNESSED` run wrote down, by step."""
    files = sorted(output.parent.glob(f"{output.name}-seen-*.jsonl"))
    lines = [[json.loads(line) for line in file.read_text().splitlines()] for file in files]
    return [list(step) for step in zip(*lines, strict=True)]


def has_mixed_steps(output: Path) -> bool:
    """Whether one process had text alone in a step in which the other had images."""
    return any(len({process["shows"] for process in step}) == 2 for step in seen(output))


def gradients(output: Path) -> dict[str, Tensor]:
    """The gradients of the first step of a `WITNESSED` run, of which each process knows all."""
    first, *others = (
        load_file(file)
        for file in sorted(output.parent.glob(f"{output.name}-gradients-*.safetensors"))
    )
    for other in others:
        torch.testing.assert_close(other, first, rtol=0, atol=0)
    return first


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    """Twelve steps of four samples; in some, one of two processes has text alone."""
    recipe = tiny_recipe(tmp_path, dropout=0.0, checkpoint_every=0.25)
    file = tmp_path / "data/messages.jsonl"
    kept: list[dict[str, Any]] = rows(22)
    for row in kept[:13]:
        row["images"] = []
        for message in row["messages"]:
            if isinstance(message["content"], list):
                message["content"] = [p for p in message["content"] if p["type"] == "text"]
    file.write_text("".join(json.dumps(row) + "\n" for row in kept))
    return recipe


@pytest.mark.slow
def test_two_processes_learn_what_one_learns(recipe: Recipe, tmp_path: Path) -> None:
    for processes in (1, 2):
        train(recipe, tmp_path / f"of-{processes}", processes=processes, patch=WITNESSED)
    assert has_mixed_steps(tmp_path / "of-2")
    torch.testing.assert_close(
        *(gradients(tmp_path / f"of-{n}") for n in (2, 1)), rtol=1e-5, atol=1e-6
    )
    one, two = (losses(tmp_path / f"of-{n}") for n in (1, 2))
    assert len(one) == 12
    assert one == pytest.approx(two, abs=1e-5)
    # The optimizer does not see the size of gradients, but clipping does.
    norms = [column(tmp_path / f"of-{n}", "grad_norm") for n in (1, 2)]
    assert norms[0] == pytest.approx(norms[1], rel=1e-4)
    found = [validations(tmp_path / f"of-{n}") for n in (1, 2)]
    assert found[0] == pytest.approx(found[1], abs=1e-5)
    weights = [load_file(tmp_path / f"of-{n}/model.safetensors") for n in (1, 2)]
    assert weights[0].keys() == weights[1].keys()
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value, rtol=0, atol=2e-5)


@pytest.mark.slow
@pytest.mark.parametrize("order", [(1, 2), (2, 1), (2, 2)])
def test_a_checkpoint_goes_from_any_number_of_processes_to_any_other(
    recipe: Recipe, tmp_path: Path, order: tuple[int, int]
) -> None:
    train(recipe, tmp_path / "whole", processes=1)
    train(recipe, tmp_path / "resumed", processes=order[0], die_after=6)
    train(recipe, tmp_path / "resumed", processes=order[1])
    assert [
        line["resumed_from"] for line in read_log(tmp_path / "resumed") if "resumed_from" in line
    ]
    assert losses(tmp_path / "whole") == pytest.approx(losses(tmp_path / "resumed"), abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("packed", [False, True])
def test_a_mixture_that_is_read_as_it_is_needed_goes_on_with_other_processes(
    recipe: Recipe, tmp_path: Path, packed: bool
) -> None:
    (stage,) = recipe.stages
    file = write_mixture(tmp_path / "mixture", samples=40)
    data = MixtureData(mixture=file, lazy=True, max_bad_share=0.2)
    schedule = replace(stage.schedule, epochs=None, steps=12)
    stage = replace(stage, data=data, schedule=schedule, pack_tokens=160 if packed else None)
    recipe = replace(recipe, stages=(stage,))
    train(recipe, tmp_path / "whole", processes=1)
    train(recipe, tmp_path / "resumed", processes=1, die_after=3)
    train(recipe, tmp_path / "resumed", processes=2, die_after=9)
    train(recipe, tmp_path / "resumed", processes=1)
    assert losses(tmp_path / "whole") == pytest.approx(losses(tmp_path / "resumed"), abs=1e-5)
    for name in ("samples", "tokens"):
        assert column(tmp_path / "whole", name) == column(tmp_path / "resumed", name)
    quarantines = [
        sorted((tmp_path / name / "quarantine.jsonl").read_text().splitlines())
        for name in ("whole", "resumed")
    ]
    assert quarantines[0] == quarantines[1]
    assert quarantines[0]


@pytest.mark.slow
def test_two_processes_accumulate_and_store_features_alike(recipe: Recipe, tmp_path: Path) -> None:
    (stage,) = recipe.stages
    schedule = replace(stage.schedule, accumulation=2)
    other = replace(stage, feature_store=True, schedule=schedule)
    train(recipe, tmp_path / "plain", processes=1)
    train(replace(recipe, stages=(other,)), tmp_path / "other", processes=2)
    assert losses(tmp_path / "plain") == pytest.approx(losses(tmp_path / "other"), abs=1e-5)


@pytest.mark.slow
def test_a_model_with_an_encoder_learns_alike(recipe: Recipe, tmp_path: Path) -> None:
    (stage,) = recipe.stages
    # T5 does not scale its attention: with weights as large as it is born with, the last bit of one
    # step grows with each of the next.
    small = {"initializer_factor": 0.1, "tie_word_embeddings": False}
    language = save_language(tmp_path / "t5", "t5", **small)
    recipe = replace(recipe, model=replace(recipe.model, language=language))
    schedule = replace(stage.schedule, accumulation=2)
    other = replace(recipe, stages=(replace(stage, schedule=schedule),))
    train(recipe, tmp_path / "of-1", processes=1)
    train(other, tmp_path / "of-2", processes=2)
    one, two = (losses(tmp_path / f"of-{n}") for n in (1, 2))
    assert len(one) == 16  # 22 samples, of which every third has two answers
    assert one == pytest.approx(two, abs=1e-5)
    norms = [column(tmp_path / f"of-{n}", "grad_norm") for n in (1, 2)]
    assert norms[0] == pytest.approx(norms[1], rel=1e-4)
    found = [validations(tmp_path / f"of-{n}") for n in (1, 2)]
    assert found[0] == pytest.approx(found[1], abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("trained", ["connector", "vision_tower"])
def test_a_part_that_some_batches_do_not_use_learns_alike(
    recipe: Recipe, tmp_path: Path, trained: PartName
) -> None:
    """Text alone reaches no connector, and nothing reaches the mask token of a DINOv2."""
    (stage,) = recipe.stages
    parts = (Part(name=trained, lr=1e-3),)
    model = replace(recipe.model, vision=save_vision(tmp_path / "dinov2", "dinov2"))
    recipe = replace(recipe, model=model, stages=(replace(stage, train=parts),))
    for processes in (1, 2):
        train(recipe, tmp_path / f"of-{processes}", processes=processes, patch=WITNESSED)
    one, two = (losses(tmp_path / f"of-{n}") for n in (1, 2))
    assert one == pytest.approx(two, abs=1e-5)
    assert len(set(one)) > 1
    found = [gradients(tmp_path / f"of-{n}") for n in (2, 1)]
    torch.testing.assert_close(*found, rtol=1e-5, atol=1e-6)


def test_what_a_launcher_does_otherwise_is_found_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "no")
    monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "4")
    with pytest.raises(ValueError, match=r"schedule\.accumulation"):
        join_processes()
    monkeypatch.delenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS")
    assert join_processes().num_processes == 1
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")  # as `accelerate launch --num_processes 2` does
    with pytest.raises(ValueError, match="add --multi_gpu"):
        join_processes()
