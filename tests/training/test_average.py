"""A stage with a moving average ends as it, and one that continues another goes on in its midst."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from isthmus.training import loop
from isthmus.training.average import Average
from isthmus.training.log import read_log
from isthmus.training.models import HandOver
from isthmus.training.stage import Recipe
from tests.training.kills import bit_equal, run, run_until, weights
from tests.training.tiny_recipe import TRAIN, tiny_recipe

DECAY = 0.75


def averaging(folder: Path, **changes: Any) -> Recipe:
    whole = {"checkpoint_every": 0.25, "validate_every": 0.5, "steps": 8, "epochs": None}
    return tiny_recipe(folder, **{**whole, "ema": DECAY, "train": TRAIN[:1], **changes})


def continued(folder: Path, **changes: Any) -> Recipe:
    """Both halves see the whole data in each step, so that where it goes on does not matter."""
    recipe = averaging(folder, dropout=0.0, batch_size=22, warmup_share=0.5, **changes)
    (stage,) = recipe.stages
    half = replace(stage, schedule=replace(stage.schedule, steps=4))
    second = replace(half, name="second", continues=True)
    return replace(recipe, stages=(half, second))


def joined(recipe: Recipe) -> Recipe:
    first, second = recipe.stages
    whole = replace(first.schedule, steps=sum(s.schedule.steps or 0 for s in (first, second)))
    return replace(recipe, stages=(replace(first, schedule=whole),))


def raw(output: Path, step: int, name: str = "trained") -> dict[str, Tensor]:
    return load_file(output / f"checkpoints/step-{step:08d}/{name}.safetensors")


def close(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        torch.testing.assert_close(value, other[name], rtol=1e-5, atol=1e-6)


def test_the_model_is_the_average_of_what_it_was(tmp_path: Path) -> None:
    recipe = averaging(tmp_path, checkpoint_every=0.125, keep_every=1)
    result, _ = run(recipe, tmp_path / "out")
    torch.manual_seed(recipe.seed)
    model, _ = loop.build(recipe.model)
    names = raw(tmp_path / "out", 1)
    means = {name: model.state_dict()[name.removeprefix("model.")] for name in names}
    for step in range(1, 9):
        now = raw(tmp_path / "out", step)
        means = {name: DECAY * old + (1 - DECAY) * now[name] for name, old in means.items()}
        close(raw(tmp_path / "out", step, "average"), means)
    final = weights(tmp_path / "out")
    close({name: final[name.removeprefix("model.")] for name in means}, means)
    assert not bit_equal(means, raw(tmp_path / "out", 8))

    plain, _ = run(averaging(tmp_path, ema=None), tmp_path / "plain")
    assert plain.losses == result.losses  # what learns is not touched
    assert plain.validation_losses != result.validation_losses


@pytest.mark.slow
def test_a_killed_run_goes_on_with_its_average(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = averaging(tmp_path)
    whole, _ = run(recipe, tmp_path / "whole")
    for step in (3, 8):
        run_until(monkeypatch, recipe, tmp_path / "killed", step)
    resumed, _ = run(recipe, tmp_path / "killed", resume=True)
    assert bit_equal(weights(tmp_path / "whole"), weights(tmp_path / "killed"))
    assert resumed.validation_losses == whole.validation_losses


def test_the_best_average_is_taken_where_the_best_weights_are_asked_for(tmp_path: Path) -> None:
    fast = (replace(TRAIN[1], lr=0.3),)
    recipe = averaging(
        tmp_path, finish="best", train=fast, steps=5, final_lr_share=1.0, validate_every=0.125
    )
    result, _ = run(recipe, tmp_path / "out")
    step = min(result.validation_losses, key=lambda each: each[1])[0]
    assert step < 5
    best, final = raw(tmp_path / "out", step, "average"), weights(tmp_path / "out")
    assert bit_equal(best, {name: final[name.removeprefix("model.")] for name in best})


@pytest.mark.slow
@pytest.mark.parametrize("ema", [DECAY, None])
def test_two_stages_that_continue_are_one(tmp_path: Path, ema: float | None) -> None:
    recipe = continued(tmp_path, ema=ema)
    run(recipe, tmp_path / "two")
    run(joined(recipe), tmp_path / "one")
    rates = [
        [line["lr"] for line in read_log(tmp_path / name) if "lr" in line]
        for name in ("two", "one")
    ]
    assert rates[0] == pytest.approx(rates[1])
    close(weights(tmp_path / "two"), weights(tmp_path / "one"))
    alone = replace(recipe.stages[1], continues=False)
    run(replace(recipe, stages=(recipe.stages[0], alone)), tmp_path / "alone")
    with pytest.raises(AssertionError):
        close(weights(tmp_path / "alone"), weights(tmp_path / "one"))


@pytest.mark.slow
def test_a_killed_run_goes_on_within_a_stage_that_continues(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = continued(tmp_path)
    run(recipe, tmp_path / "whole")
    for step in (5, 8):  # after the first stage, and within the second
        run_until(monkeypatch, recipe, tmp_path / "killed", step)
    run(recipe, tmp_path / "killed", resume=True)
    assert bit_equal(weights(tmp_path / "whole"), weights(tmp_path / "killed"))


@pytest.mark.slow
def test_a_larger_picture_goes_on_with_the_same_moments(tmp_path: Path) -> None:
    recipe = continued(tmp_path, keep_every=1)
    first, second = recipe.stages
    everything_else = HandOver(keys=(("**", "**"),), left=("model.vision_tower.**",))
    small = replace(recipe.model, image_size=16)
    recipe = replace(
        recipe,
        stages=(replace(first, model=small), replace(second, hand_over=everything_else)),
    )
    run(recipe, tmp_path / "out")
    before = weights(tmp_path / "out" / "align")
    # What lies between the stages is the average, as at the end; what goes on is what learned.
    average = raw(tmp_path / "out", 4, "average")
    assert bit_equal(average, {name: before[name.removeprefix("model.")] for name in average})
    with torch.no_grad():
        moved = [
            float((raw(tmp_path / "out", 6)[name] - raw(tmp_path / "out", 4)[name]).abs().max())
            for name in average
        ]
    assert 0 < max(moved) < 2.5 * TRAIN[0].lr  # two steps, from the weights that learned


def test_an_average_of_other_weights_is_refused() -> None:
    average = Average({"a": torch.zeros(2)}, DECAY)
    with pytest.raises(ValueError, match="differ in 'b'"):
        average.load({"a": torch.zeros(2), "b": torch.zeros(2)})


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"train": TRAIN}, "its train is another"),
        ({"ema": None}, "its ema is another"),
        ({"lr": 0.1}, "its train is another"),
        ({"warmup_share": 0.1}, "its schedule is another"),
        ({"steps": None, "epochs": 1}, "give the length of both"),
    ],
)
def test_stages_that_cannot_be_one_are_refused(
    tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    first, second = continued(tmp_path).stages
    if "lr" in changes:
        changes = {"train": (replace(first.train[0], lr=changes["lr"]),)}
    in_schedule = {k: v for k, v in changes.items() if hasattr(second.schedule, k)}
    rest = {k: v for k, v in changes.items() if k not in in_schedule}
    second = replace(second, schedule=replace(second.schedule, **in_schedule), **rest)
    with pytest.raises(ValueError, match=reason):
        replace(continued(tmp_path), stages=(first, second))


def test_the_first_stage_continues_nothing_and_none_continues_the_best(tmp_path: Path) -> None:
    recipe = continued(tmp_path)
    first, second = recipe.stages
    with pytest.raises(ValueError, match="is the first"):
        replace(recipe, stages=(second,))
    with pytest.raises(ValueError, match="ends with its best"):
        replace(recipe, stages=(replace(first, finish="best"), second))
    with pytest.raises(ValueError, match="ema is 1"):
        replace(first, ema=1)
