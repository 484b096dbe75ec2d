"""The rows of Prismatic VLMs: each differs from the single-stage model in what it is named for."""

from dataclasses import replace

import pytest

from isthmus import recipes
from isthmus.cli._recipe import flatten
from isthmus.training.stage import Recipe

FUSED = {"model.beside", "model.connector.depth", "model.connector.patch_multiplier"}
DATA = {"stages.0.data.file", "stages.0.data.samples"}
TOWER = {"model.vision"}
RESIZE = {"model.image_resize"}
BASE = {"model.language", "model.chat_template"}
LONGER = {"stages.0.schedule.epochs", "stages.0.schedule.steps"}
THAWED = {f"stages.0.train.2.{key}" for key in ("name", "lr", "lora", "only", "layer_decay")}
FIRST_STAGE = {"a first stage"}

DIFFERENCES = {
    "prismatic.two_stage_7b": FIRST_STAGE,
    "prismatic.two_stage_13b": FIRST_STAGE | {"model.language"},
    "prismatic.one_stage_7b": set(),
    "prismatic.one_stage_13b": {"model.language"},
    "prismatic.thawed_two_stage_7b": FIRST_STAGE | THAWED,
    "prismatic.thawed_one_stage_7b": THAWED,
    "prismatic.in1k_224_7b": TOWER,
    "prismatic.dinov2_224_7b": TOWER | {"model.image_size"},
    "prismatic.clip_224_7b": TOWER,
    "prismatic.siglip_224_7b": TOWER,
    "prismatic.clip_336_crop_7b": RESIZE,
    "prismatic.clip_336_naive_7b": RESIZE,
    "prismatic.siglip_384_letterbox_7b": TOWER,
    "prismatic.siglip_384_crop_7b": TOWER | RESIZE,
    "prismatic.siglip_384_naive_7b": TOWER | RESIZE,
    "prismatic.dinoclip_336_letterbox_7b": TOWER | FUSED | {"model.image_size"},
    "prismatic.dinoclip_336_naive_7b": TOWER | FUSED | {"model.image_size"} | RESIZE,
    "prismatic.dinosiglip_384_letterbox_7b": TOWER | FUSED | {"model.image_size"},
    "prismatic.dinosiglip_384_naive_7b": TOWER | FUSED | {"model.image_size"} | RESIZE,
    "prismatic.llama2_7b": BASE,
    "prismatic.llama2_13b": BASE,
    "prismatic.llama2_chat_7b": BASE,
    "prismatic.llama2_chat_13b": BASE,
    "prismatic.mistral_7b": BASE,
    "prismatic.mistral_instruct_7b": BASE,
    "prismatic.phi2_3b": BASE,
    "prismatic.vicuna_no_text_7b": DATA,
    "prismatic.llama2_no_text_7b": BASE | DATA,
    "prismatic.epochs_1_25_7b": LONGER,
    "prismatic.epochs_1_5_7b": LONGER,
    "prismatic.epochs_2_7b": {"stages.0.schedule.epochs"},
    "prismatic.epochs_3_7b": {"stages.0.schedule.epochs"},
    "prismatic.lvis4v_7b": DATA,
    "prismatic.lrv_7b": DATA,
    "prismatic.lvis4v_lrv_7b": DATA,
    "prism.clip_7b_controlled": BASE | RESIZE,
    "prism.clip_7b": BASE | RESIZE | DATA | {"stages.0.schedule.epochs"},
    "prism.clip_13b_controlled": BASE | RESIZE,
    "prism.clip_13b": BASE | RESIZE | DATA | {"stages.0.schedule.epochs"},
    "prism.siglip_7b_controlled": TOWER | BASE | RESIZE,
    "prism.siglip_7b": TOWER | BASE | RESIZE | DATA | {"stages.0.schedule.epochs"},
    "prism.siglip_13b_controlled": TOWER | BASE | RESIZE,
    "prism.siglip_13b": TOWER | BASE | RESIZE | DATA | {"stages.0.schedule.epochs"},
}
FUSED_PRISM = TOWER | FUSED | {"model.image_size"} | BASE | RESIZE
for size in ("7b", "13b", "224_7b"):
    name = f"prism.dinosiglip_{size}"
    DIFFERENCES[f"{name}_controlled"] = FUSED_PRISM
    DIFFERENCES[name] = FUSED_PRISM | DATA | {"stages.0.schedule.epochs"}


def lines(recipe: Recipe) -> set[tuple[str, str]]:
    """Every value of a recipe by its path, with the stages counted from the last."""
    told = replace(recipe, name="", description="", stages=recipe.stages[-1:]).to_dict()
    first = {("a first stage", "")} if len(recipe.stages) == 2 else set()
    return set(flatten(told).items()) | first


def test_every_row_is_told_of() -> None:
    rows = [name for name in recipes.names() if name.startswith(("prismatic.", "prism."))]
    assert sorted(DIFFERENCES) == sorted(rows)
    assert len(rows) == 49  # as many as the published code names


@pytest.mark.parametrize("name", DIFFERENCES)
def test_a_row_differs_in_what_it_is_named_for_and_in_nothing_else(name: str) -> None:
    anchor = lines(recipes.resolve("prismatic.one_stage_7b"))
    assert {path for path, _ in anchor ^ lines(recipes.resolve(name))} == DIFFERENCES[name]


def test_the_first_stage_is_the_same_wherever_there_is_one() -> None:
    with_two = [recipes.resolve(name) for name, what in DIFFERENCES.items() if what >= FIRST_STAGE]
    assert len(with_two) == 3
    assert len({recipe.stages[0] for recipe in with_two}) == 1
