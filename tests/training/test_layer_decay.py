"""Learning rates that fall from layer to layer, and reach the weights."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

from isthmus.modeling.parts import ModelPart
from isthmus.training.layer_decay import lr_factors
from isthmus.training.loop import train
from isthmus.training.optim import PEAK, build_optimizer, set_lr
from isthmus.training.schedule import Schedule
from isthmus.training.stage import Part
from tests.tiny import load_tower, save_vision
from tests.training.tiny_recipe import tiny_recipe

HALF = [0.5] * 3


def by_name(folder: Path, decay: float) -> dict[str, float]:
    tower = load_tower(save_vision(folder), -1, mean=HALF, std=HALF)
    factors = lr_factors(ModelPart([tower]), decay)
    return {name: factors[id(parameter)] for name, parameter in tower.named_parameters()}


def test_each_layer_learns_more_slowly_than_the_one_above(tmp_path: Path) -> None:
    found = by_name(tmp_path, 0.5)
    for name, factor in found.items():
        if ".layers." in name:
            layer = int(name.split(".layers.")[1].split(".")[0])
            assert factor == 0.5 ** (3 - layer), name
        elif "embedding" in name:
            assert factor == 0.5**4, name
        else:
            assert "layernorm" in name
            assert factor == 1.0, name
    assert len(set(found.values())) == 5


def test_the_optimizer_keeps_the_factors_along_the_schedule(tmp_path: Path) -> None:
    tower = load_tower(save_vision(tmp_path), -1, mean=HALF, std=HALF)
    part = Part(name="vision_tower", lr=1e-2, layer_decay=0.5)
    optimizer = build_optimizer(
        {"vision_tower": ModelPart([tower])}, [part], Schedule(batch_size=1, steps=1)
    )
    peaks = {group[PEAK] for group in optimizer.param_groups}
    assert peaks == {1e-2 * 0.5**n for n in range(5)}
    assert set_lr(optimizer, 0.1) == pytest.approx(1e-3)
    assert {group["lr"] for group in optimizer.param_groups} == {p * 0.1 for p in peaks}
    held = [p for group in optimizer.param_groups for p in group["params"]]
    assert sorted(map(id, held)) == sorted(map(id, tower.parameters()))


def test_a_step_moves_lower_layers_less(tmp_path: Path) -> None:
    parts = (Part(name="connector", lr=1e-2), Part(name="vision_tower", lr=1e-2, layer_decay=0.5))
    recipe = tiny_recipe(tmp_path, train=parts, steps=1, epochs=None, warmup_share=0.0)
    recipe = replace(recipe, model=replace(recipe.model, vision_layer=-1))
    before = load_file(tmp_path / "vision/model.safetensors")
    train(recipe, tmp_path / "run", console=Console(quiet=True))
    after = load_file(tmp_path / "run/model.safetensors")
    moved = []
    for layer in range(3):
        name = f"encoder.layers.{layer}.mlp.fc1.weight"
        whole = next(key for key in after if key.endswith(name))
        old = next(value for key, value in before.items() if key.endswith(name))
        moved.append(float((after[whole] - old).abs().max()))
    # The first step of Adam is as long as the learning rate.
    torch.testing.assert_close(
        torch.tensor(moved), torch.tensor([1.25e-3, 2.5e-3, 5e-3]), rtol=0.05, atol=0.0
    )


def test_what_has_no_layers_has_no_decay() -> None:
    part = ModelPart([torch.nn.Linear(2, 2)])
    assert set(lr_factors(part, 1.0).values()) == {1.0}
    with pytest.raises(ValueError, match=r"layer_decay is 0\.9 for a part without layers"):
        lr_factors(part, 0.9)
    with pytest.raises(ValueError, match=r"expected a factor in \(0, 1\]"):
        Part(name="connector", lr=1.0, layer_decay=0.0)
