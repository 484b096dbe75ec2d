"""Weights in shards learn what whole ones learn.

On CPUs, Accelerate shares no weights out. It does once it is told that it shall, as here, and takes
the same way as on GPUs from there on.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate.utils import FullyShardedDataParallelPlugin
from safetensors.torch import load_file
from torch import nn
from transformers.models.llama.modeling_llama import LlamaDecoderLayer

from isthmus import fusion as fusions
from isthmus import recipes
from isthmus.modeling.lora import Lora
from isthmus.training import loop
from isthmus.training.log import read_log
from isthmus.training.models import HandOver, ModelConfig
from isthmus.training.sharding import check_plugin, group_layers, touched
from isthmus.training.stage import Part, Recipe, Stage
from tests.tiny import tiny_model
from tests.training.test_processes import (
    WITNESSED,
    column,
    gradients,
    has_mixed_steps,
    losses,
    recipe,
    seen,
    train,
    validations,
)
from tests.training.tiny_recipe import TRAIN

__all__ = ["recipe"]

SHARDED = """
from accelerate import Accelerator, PartialState
from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin
from isthmus.training import processes
class Sharding(Accelerator):
    def __init__(self, **options):
        super().__init__(**options)
        self.state.fsdp_plugin = FullyShardedDataParallelPlugin(fsdp_version=2)
        self.state.distributed_type = DistributedType.FSDP
        PartialState._shared_state["distributed_type"] = DistributedType.FSDP
processes.Accelerator = Sharding
"""
NEVER_BEST = """
from isthmus.training import loop
measure = loop._validate
def measured(*args):
    measure(*args)
    return False
loop._validate = measured
"""
"""Has a run validate without writing a checkpoint."""
CONNECTOR, LANGUAGE = TRAIN


def with_stage(recipe: Recipe, fusion: str = "inline", **changes: Any) -> Recipe:
    (stage,) = recipe.stages
    model = replace(recipe.model, fusion=fusions.default(fusion))
    return replace(recipe, model=model, stages=(replace(stage, **changes),))


def compare(recipe: Recipe, folder: Path, *, patch: str = "") -> None:
    patch = WITNESSED + patch
    train(recipe, folder / "one", processes=1, patch=patch)
    train(recipe, folder / "shards", processes=2, patch=SHARDED + patch)
    assert has_mixed_steps(folder / "shards")
    assert all(process["shards"] for step in seen(folder / "shards") for process in step)
    one, shards = (gradients(folder / name) for name in ("one", "shards"))
    torch.testing.assert_close(shards, one, rtol=1e-5, atol=1e-6)
    assert losses(folder / "one") == pytest.approx(losses(folder / "shards"), abs=1e-5)
    assert len(set(losses(folder / "one"))) > 1
    norms = [column(folder / name, "grad_norm") for name in ("one", "shards")]
    assert norms[0] == pytest.approx(norms[1], rel=1e-4)
    found = [validations(folder / name) for name in ("one", "shards")]
    assert found[0] == pytest.approx(found[1], abs=1e-5)
    weights = [load_file(folder / name / "model.safetensors") for name in ("one", "shards")]
    assert weights[0].keys() == weights[1].keys()
    for name, value in weights[0].items():
        # Attention does not see this bias: its gradient is what was rounded.
        if not name.endswith("k_proj.bias"):
            torch.testing.assert_close(weights[1][name], value, rtol=0, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fusion", "trained"),
    [
        ("inline", (CONNECTOR,)),
        ("inline", (CONNECTOR, LANGUAGE)),
        ("inline", (CONNECTOR, Part(name="vision_tower", lr=1e-3))),
        ("inline", (CONNECTOR, replace(LANGUAGE, lora=Lora(rank=4)))),
        ("visual_expert", (CONNECTOR, Part(name="fusion", lr=1e-2))),
        # Behind gates that are hardly open, gradients are small, and Adam makes noise of the last
        # bit as large as any other.
        ("gated_cross_attention", (CONNECTOR, Part(name="fusion", lr=1e-3))),
    ],
)
def test_shards_learn_what_one_process_learns(
    recipe: Recipe, tmp_path: Path, fusion: str, trained: tuple[Part, ...]
) -> None:
    compare(with_stage(recipe, fusion, train=trained, gradient_checkpointing=True), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("order", [("shards", "one"), ("one", "shards"), ("shards", "shards")])
def test_a_checkpoint_goes_from_shards_to_one_process_and_back(
    recipe: Recipe, tmp_path: Path, order: tuple[str, str]
) -> None:
    recipe = with_stage(recipe, "visual_expert", train=(CONNECTOR, Part(name="fusion", lr=1e-2)))
    recipe = with_stage(recipe, "visual_expert", ema=0.8)
    how: dict[str, dict[str, Any]] = {
        "one": {"processes": 1},
        "shards": {"processes": 2, "patch": SHARDED},
    }
    train(recipe, tmp_path / "whole", processes=1)
    train(recipe, tmp_path / "resumed", **how[order[0]], die_after=6)
    train(recipe, tmp_path / "resumed", **how[order[1]])
    assert [
        line["resumed_from"] for line in read_log(tmp_path / "resumed") if "resumed_from" in line
    ] == [6]
    assert losses(tmp_path / "whole") == pytest.approx(losses(tmp_path / "resumed"), abs=1e-5)
    weights = [load_file(tmp_path / name / "model.safetensors") for name in ("whole", "resumed")]
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value, rtol=0, atol=1e-4)


@pytest.mark.slow
def test_a_step_behind_a_validation_has_the_weights_and_not_their_average(
    recipe: Recipe, tmp_path: Path
) -> None:
    """A checkpoint would have put the average away."""
    parts = (CONNECTOR, Part(name="fusion", lr=1e-2))
    often = {"validate_every": 0.25, "checkpoint_every": 1.0, "ema": 0.9}
    compare(with_stage(recipe, "visual_expert", train=parts, **often), tmp_path, patch=NEVER_BEST)


@pytest.mark.slow
def test_stages_follow_each_other_in_shards(recipe: Recipe, tmp_path: Path) -> None:
    """One that another continues with larger pictures, and one that goes on from both."""
    (given,) = recipe.stages
    schedule = replace(given.schedule, epochs=None, steps=4)
    first: Stage = replace(given, train=(CONNECTOR,), schedule=schedule, ema=0.8, name="first")
    second = replace(
        first,
        name="second",
        continues=True,
        hand_over=HandOver(keys=(("**", "**"),), left=("model.vision_tower.**",)),
    )
    third = replace(given, train=(LANGUAGE,), schedule=schedule, name="third")
    first = replace(first, model=replace(recipe.model, image_size=16))
    recipe = replace(recipe, stages=(first, second, third))
    compare(recipe, tmp_path)
    between = [load_file(tmp_path / n / "first" / "model.safetensors") for n in ("one", "shards")]
    for name, value in between[0].items():
        torch.testing.assert_close(between[1][name], value, rtol=0, atol=1e-4)


def test_only_the_layers_of_the_language_model_are_groups(tmp_path: Path) -> None:
    model = tiny_model(tmp_path, connector="language_adapter")[0].model
    plugin = FullyShardedDataParallelPlugin(fsdp_version=2)
    group_layers(plugin, model.language_model)
    assert plugin.transformer_cls_names_to_wrap == ["ShardedLlamaDecoderLayer"]
    marked = [
        name for name, part in model.named_modules() if type(part).__name__.startswith("Sharded")
    ]
    assert marked == ["language_model.layers.0", "language_model.layers.1"]
    # Those of the adapter are of the same class, and may be left out by a process.
    assert any(isinstance(part, LlamaDecoderLayer) for part in model.connector.modules())


def test_what_learns_is_touched_and_nothing_else() -> None:
    frozen, learning = nn.Linear(2, 3).requires_grad_(False), nn.Linear(3, 1)
    assert not touched(frozen).requires_grad
    whole = nn.Sequential(frozen, learning)
    total = touched(whole)
    total.backward()
    assert total == 0
    assert all(not value.grad.any() for value in learning.parameters() if value.grad is not None)
    assert [value.grad is None for value in whole.parameters()] == [True, True, False, False]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"fsdp_version": 1}, "give --fsdp_version 2"),
        ({"fsdp_version": 2, "activation_checkpointing": True}, "gradient_checkpointing"),
    ],
)
def test_what_a_launcher_may_not_ask_for_is_named(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        check_plugin(FullyShardedDataParallelPlugin(**options))


def test_what_cannot_be_shared_out_is_refused_before_it_is_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "is_sharded", lambda _: True)
    with pytest.raises(ValueError, match=r"'alignment' cannot be sharded.* leave out --use_fsdp"):
        loop.train(recipes.resolve("microworld.blip2_alignment"), tmp_path / "run")
    quick = recipes.resolve("microworld.quickstart")
    assert isinstance(quick.model, ModelConfig)
    connector = tuple(part for part in quick.stages[0].train if part.name == "connector")
    rounded = replace(
        quick,
        model=replace(quick.model, four_bit=True),
        stages=(replace(quick.stages[0], train=connector),),
        save="trained",
    )
    with pytest.raises(ValueError, match="four bits are not shared out; leave out --use_fsdp"):
        loop.train(rounded, tmp_path / "run")
    assert not (tmp_path / "run").exists()
