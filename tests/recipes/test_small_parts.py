"""Prismatic's rows and the baselines with small parts of the same classes: what learns, and what
stays as it was."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from isthmus import load, recipes
from isthmus.connectors.perceiver_resampler import PerceiverResampler
from isthmus.fusion.gated_cross_attention import GatedCrossAttention
from isthmus.training.loop import train
from isthmus.training.models import ModelConfig
from isthmus.training.resolve import build
from isthmus.training.stage import FileData, Recipe, Stage
from tests.tiny import D_VISION, save_language, save_vision
from tests.tiny_data import write_data

BESIDE = "siglip_vision_model"


@pytest.mark.parametrize(
    ("name", "vision", "language", "learned"),
    [
        (
            "prismatic.thawed_two_stage_7b",
            "clip_vision_model",
            "llama",
            {"vision_tower", "connector", "language_model"},
        ),
        (
            "prismatic.dinosiglip_384_letterbox_7b",
            "dinov2_with_registers",
            "llama",
            {"connector", "language_model"},
        ),
        ("prismatic.phi2_3b", "clip_vision_model", "phi", {"connector", "language_model"}),
        ("baselines.openflamingo_4b", "clip_vision_model", "gpt_neox", {"connector", "fusion"}),
        ("baselines.idefics_9b", "clip_vision_model", "llama", {"connector", "fusion"}),
        ("baselines.anymal_13b", "clip_vision_model", "llama", {"connector"}),
    ],
)
def test_a_recipe_trains_its_parts_and_no_others(
    name: str, vision: str, language: str, learned: set[str], tmp_path: Path
) -> None:
    recipe = shrunk(recipes.resolve(name), vision, language, tmp_path)
    assert isinstance(recipe.model, ModelConfig)
    train(recipe, tmp_path / "run", console=Console(quiet=True))
    torch.manual_seed(recipe.seed)  # as training does, so that fresh weights are the same
    before = build(recipe.model)[0].parts()
    after = load(tmp_path / "run")[0].parts()
    changed = {
        part
        for part, module in before.items()
        for key, value in module.state_dict().items()
        if not torch.equal(value, after[part].state_dict()[key])
    }
    assert changed == learned


def shrunk(recipe: Recipe, vision: str, language: str, folder: Path) -> Recipe:
    """The recipe with small random parts in the places of the published ones."""
    file = write_data(folder / "data", 10)
    model: Any = recipe.model
    connector, fusion = model.connector, model.fusion
    if isinstance(connector, PerceiverResampler.Config):
        connector = replace(connector, num_latents=4, depth=1, num_heads=2, d_head=8)
    if isinstance(fusion, GatedCrossAttention.Config):
        layers = (1,) if fusion.layers else ()
        fusion = replace(fusion, num_heads=2, d_head=8, d_visual=D_VISION, layers=layers)

    def stage(given: Stage) -> Stage:
        return replace(
            given,
            data=FileData(file=file, image_root=file.parent, max_bad_share=1.0),
            schedule=replace(given.schedule, epochs=None, steps=2, batch_size=5),
            dtype="float32",
        )

    return replace(
        recipe,
        model=replace(
            model,
            vision=save_vision(folder / "vision", vision),
            beside=tuple(save_vision(folder / "beside", BESIDE) for _ in model.beside),
            image_size=None,
            language=save_language(folder / "language", language),
            connector=connector,
            fusion=fusion,
        ),
        stages=tuple(map(stage, recipe.stages)),
    )
