"""The loop: a killed run ends bit-equal, a stored tower changes nothing, the folder loads."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import AutoModelForImageTextToText, AutoProcessor

from isthmus.training import loop
from isthmus.training.log import read_log
from isthmus.training.run_folder import read_description
from isthmus.training.stage import Part, Recipe
from isthmus.vision.tower import VisionTower
from tests.training.kills import bit_equal, run, run_until, weights
from tests.training.tiny_recipe import TRAIN, tiny_recipe


@pytest.mark.parametrize(
    "changes",
    [pytest.param({}, marks=pytest.mark.slow), {"accumulation": 3, "num_workers": 0}],
)
def test_a_killed_run_ends_bit_equal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    recipe = tiny_recipe(tmp_path, checkpoint_every=0.25, **changes)
    whole, _ = run(recipe, tmp_path / "whole")
    for step in (2, 5, 12):  # before the first checkpoint, within an epoch, at the last step
        run_until(monkeypatch, recipe, tmp_path / "killed", step)
    resumed, _ = run(recipe, tmp_path / "killed", resume=True)

    assert bit_equal(weights(tmp_path / "whole"), weights(tmp_path / "killed"))
    assert resumed.losses == whole.losses
    assert resumed.validation_losses == whole.validation_losses
    assert (resumed.steps, resumed.samples, resumed.tokens) == (12, 44, whole.tokens)
    lines = read_log(tmp_path / "killed")
    # Killed in step 2, it starts fresh and so logs anew; then it went on from 3 and from 9.
    assert [line["resumed_from"] for line in lines if "resumed_from" in line] == [3, 9]


@pytest.mark.slow
def test_a_run_of_packed_rows_sees_every_sample_and_goes_on_when_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tiny_recipe(
        tmp_path, batch_size=2, checkpoint_every=0.25, pack_tokens=200, pack_images=4
    )
    whole, _ = run(recipe, tmp_path / "whole")
    (stage,) = read_description(tmp_path / "whole")["stages"]
    assert stage["samples"] == 22
    assert stage["rows"] < 15
    assert whole.samples == 44
    run_until(monkeypatch, recipe, tmp_path / "killed", whole.steps - 1)
    resumed, _ = run(recipe, tmp_path / "killed", resume=True)
    assert bit_equal(weights(tmp_path / "whole"), weights(tmp_path / "killed"))
    assert resumed.losses == whole.losses


def test_packing_is_for_conversations(tmp_path: Path) -> None:
    stage = tiny_recipe(tmp_path).stages[0]
    with pytest.raises(ValueError, match="pack_images is 3, but samples are not packed"):
        replace(stage, pack_images=3)


@pytest.mark.slow
def test_a_killed_run_of_two_stages_ends_bit_equal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tiny_recipe(tmp_path, steps=4, epochs=None, checkpoint_every=0.5)
    first = replace(recipe.stages[0], train=TRAIN[:1], name="first")
    second = replace(recipe.stages[0], train=TRAIN[1:], name="second", blind=True)
    recipe = replace(recipe, stages=(first, second))
    run(recipe, tmp_path / "whole")
    for step in (4, 7):
        run_until(monkeypatch, recipe, tmp_path / "killed", step)
    _, shown = run(recipe, tmp_path / "killed", resume=True)

    assert bit_equal(weights(tmp_path / "whole"), weights(tmp_path / "killed"))
    assert shown.count("what is trained") == 1  # the first stage is not run again
    stages = read_description(tmp_path / "killed")["stages"]
    assert [stage["name"] for stage in stages] == ["first", "second"]
    assert stages == read_description(tmp_path / "whole")["stages"]


def test_frozen_parts_keep_every_bit_and_trained_ones_move(tmp_path: Path) -> None:
    recipe = tiny_recipe(tmp_path, train=TRAIN[:1], steps=3, epochs=None, validate_every=1)
    result, _ = run(recipe, tmp_path / "out")
    assert [step for step, _ in result.validation_losses] == [3]  # a share, not a number of steps
    trained = weights(tmp_path / "out")
    torch.manual_seed(recipe.seed)
    model, _ = loop.build(recipe.model)
    before = model.state_dict()
    moved = {name for name in trained if not torch.equal(trained[name], before[name])}
    assert moved == {name for name in trained if name.startswith("model.connector.")}
    checkpoint = sorted((tmp_path / "out" / "checkpoints").iterdir())[-1]
    held = load_file(checkpoint / "trained.safetensors")
    assert {name.removeprefix("model.") for name in held} == moved


def test_the_folder_loads_with_the_stock_classes_and_tells_its_story(tmp_path: Path) -> None:
    recipe = tiny_recipe(tmp_path)
    result, shown = run(recipe, tmp_path / "out")
    assert AutoModelForImageTextToText.from_pretrained(tmp_path / "out").num_parameters() > 0
    assert AutoProcessor.from_pretrained(tmp_path / "out").num_image_tokens == 16

    description = read_description(tmp_path / "out")
    assert Recipe.from_dict(description["recipe"]) == recipe
    assert set(description["towers"]) == {"vision_tower", "connector", "language_model"}
    (stage,) = description["stages"]
    assert [row["part"] for row in stage["parts"] if row["trainable"]] == [
        "connector",
        "language_model",
    ]
    assert description["result"]["steps"] == 12

    lines = [line for line in read_log(tmp_path / "out") if "loss" in line]
    assert [line["step"] for line in lines] == list(range(1, 13))
    assert lines[-1]["lr"] < lines[3]["lr"]
    assert result.losses == tuple((line["step"], line["loss"]) for line in lines)
    assert result.losses[-1][1] < result.losses[0][1]
    assert [step for step, _ in result.validation_losses] == [6, 12]
    assert 0 < result.samples_per_second < result.tokens_per_second
    assert 0.1 < result.peak_memory_gb < 20
    assert "frozen" in shown
    assert "12/12" in shown


def test_a_stored_tower_gives_the_same_training_and_is_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tiny_recipe(tmp_path)
    plain, _ = run(recipe, tmp_path / "plain")
    stored_recipe = tiny_recipe(tmp_path, feature_store=True)
    calls: list[str] = []
    whole_step, whole_tower = loop.take_step, VisionTower.forward

    def step(*args: Any, **options: Any) -> Any:
        calls.append("step")
        return whole_step(*args, **options)

    def tower(self: VisionTower, pixel_values: Tensor) -> Any:
        calls.append("tower")
        return whole_tower(self, pixel_values)

    monkeypatch.setattr(loop, "take_step", step)
    monkeypatch.setattr(VisionTower, "forward", tower)
    stored, shown = run(stored_recipe, tmp_path / "stored")
    assert "tower" in calls[: calls.index("step")]
    assert "tower" not in calls[calls.index("step") :]
    for (_, one), (_, other) in zip(plain.losses, stored.losses, strict=True):
        assert one == pytest.approx(other, rel=1e-3)
    assert "feature store: 28 images, 28 of them new" in shown

    _, shown = run(replace(stored_recipe, seed=1), tmp_path / "again")
    assert "feature store: 28 images, 0 of them new" in shown
    report = read_description(tmp_path / "again")["stages"][0]["feature_store"]
    assert (report["encoded"], report["parity_images"]) == (0, 8)
    assert report["max_abs_difference"] < 1e-4 * report["max_abs_feature"]


@pytest.mark.slow
def test_what_an_earlier_stage_made_of_the_tower_is_stored_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The untouched tower's features come first, so that a mix-up would be seen by either side.
    untouched = tiny_recipe(tmp_path, feature_store=True, steps=2, epochs=None)
    run(untouched, tmp_path / "untouched")
    (stage,) = untouched.stages
    tower = Part(name="vision_tower", lr=1e-2)
    first = replace(stage, name="tower", train=(tower,), feature_store=False)
    recipe = replace(untouched, stages=(first, replace(stage, name="connector")))
    _, shown = run(recipe, tmp_path / "whole")
    assert "28 of them new" in shown

    run_until(monkeypatch, recipe, tmp_path / "killed", 3)
    _, shown = run(recipe, tmp_path / "killed", resume=True)
    assert "feature store: 28 images, 0 of them new" in shown
    assert bit_equal(weights(tmp_path / "killed"), weights(tmp_path / "whole"))
    _, shown = run(untouched, tmp_path / "untouched_again")
    assert "feature store: 28 images, 0 of them new" in shown


def test_recomputing_and_accumulating_change_no_loss(tmp_path: Path) -> None:
    settings = {"steps": 4, "epochs": None, "dropout": 0.0}
    plain, _ = run(tiny_recipe(tmp_path, **settings), tmp_path / "plain")
    settings |= {"gradient_checkpointing": True, "accumulation": 4}
    other, _ = run(tiny_recipe(tmp_path, **settings), tmp_path / "other")
    assert [loss for _, loss in plain.losses] == pytest.approx(
        [loss for _, loss in other.losses], rel=1e-3
    )


def test_bfloat16_computes_otherwise_but_keeps_float32_weights(tmp_path: Path) -> None:
    settings = {"steps": 3, "epochs": None, "feature_store": True}
    single, _ = run(tiny_recipe(tmp_path, **settings), tmp_path / "single")
    half, _ = run(tiny_recipe(tmp_path, dtype="bfloat16", **settings), tmp_path / "half")
    assert half.losses != single.losses
    assert half.losses[0][1] == pytest.approx(single.losses[0][1], rel=0.05)
    assert {value.dtype for value in weights(tmp_path / "half").values()} == {torch.float32}


def test_a_blind_run_reads_no_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_image(*_: Any) -> None:
        raise AssertionError("an image was read")

    monkeypatch.setattr("isthmus.data.dataset.read_views", no_image)
    monkeypatch.setattr("isthmus.training.stage_data.read_views", no_image)
    recipe = tiny_recipe(tmp_path, steps=2, epochs=None, feature_store=True).blind()
    result, _ = run(recipe, tmp_path / "blind")
    assert result.samples == 8


def test_changed_data_is_no_resume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = tiny_recipe(tmp_path, checkpoint_every=0.25)
    run_until(monkeypatch, recipe, tmp_path / "out", 5)
    file = recipe.stages[0].data.file
    file.write_text(file.read_text().replace("And now?", "And then?"))
    with pytest.raises(ValueError, match="was written with the data"):
        run(recipe, tmp_path / "out", resume=True)


@pytest.mark.parametrize("changed", ["validation data", "encoding"])
def test_a_changed_way_of_reading_is_no_resume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: str
) -> None:
    recipe = tiny_recipe(tmp_path, checkpoint_every=0.25)
    template = tmp_path / "mine.jinja"
    template.write_text("{% for m in messages %}{{ m.content }}</s>{% endfor %}")
    recipe = replace(recipe, model=replace(recipe.model, chat_template=str(template)))
    run_until(monkeypatch, recipe, tmp_path / "out", 5)
    if changed == "encoding":
        template.write_text("{% for m in messages %}({{ m.content }}</s>{% endfor %}")
    else:
        file = recipe.stages[0].validation.file
        file.write_text(file.read_text().replace("And now?", "And then?"))
    with pytest.raises(ValueError, match=f"was written with the {changed}"):
        run(recipe, tmp_path / "out", resume=True)


def test_a_loss_that_is_no_number_stops_the_run(tmp_path: Path) -> None:
    parts = (Part(name="connector", lr=1e30), Part(name="language_model", lr=1e30))
    recipe = tiny_recipe(tmp_path, train=parts, warmup_share=0.0, clip=None)
    with pytest.raises(FloatingPointError, match="norm is nan at step 2; train into another"):
        run(recipe, tmp_path / "out")
    kept = replace(recipe, stages=(replace(recipe.stages[0], log_every=9, checkpoint_every=0.1),))
    with pytest.raises(FloatingPointError):
        run(kept, tmp_path / "kept")
    # What is no number is in no checkpoint.
    (held,) = (tmp_path / "kept" / "checkpoints").iterdir()
    assert held.name == "step-00000001"
    weights = load_file(held / "trained.safetensors")
    assert all(value.isfinite().all() for value in weights.values())
    assert json.loads((tmp_path / "out" / "log.jsonl").read_text().splitlines()[0])["step"] == 1


def test_a_sample_that_teaches_nothing_stops_the_run_by_name(tmp_path: Path) -> None:
    recipe = tiny_recipe(tmp_path)
    file = recipe.stages[0].data.file
    row = json.loads(file.read_text().splitlines()[0])
    row["messages"][1]["content"] = "long " * 300
    file.write_text(json.dumps(row) + "\n")
    with pytest.raises(ValueError, match=r"row-0: \d+ tokens, but the language model takes 256"):
        run(recipe, tmp_path / "out")


def test_gradients_are_clipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    norms: list[float] = []
    whole = torch.optim.AdamW.step

    def step(self: torch.optim.AdamW, *args: Any, **options: Any) -> Any:
        gradients = [p.grad for g in self.param_groups for p in g["params"] if p.grad is not None]
        norms.append(nn.utils.get_total_norm(gradients).item())
        return whole(self, *args, **options)

    monkeypatch.setattr(torch.optim.AdamW, "step", step)
    run(tiny_recipe(tmp_path, steps=2, epochs=None, clip=0.01), tmp_path / "out")
    assert norms == pytest.approx([0.01, 0.01], rel=1e-3)
    logged = [line["grad_norm"] for line in read_log(tmp_path / "out") if "loss" in line]
    assert min(logged) > 0.01


def test_compiling_is_asked_of_torch_and_changes_no_loss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled: list[nn.Module] = []

    def as_it_is(
        module: nn.Module, **_: Any
    ) -> nn.Module:  # the real one: tests/cli/test_installed.py
        compiled.append(module)
        return module

    monkeypatch.setattr(torch, "compile", as_it_is)
    settings = {"steps": 2, "epochs": None}
    plain, _ = run(tiny_recipe(tmp_path, **settings), tmp_path / "plain")
    assert compiled == []
    other, _ = run(tiny_recipe(tmp_path, compile=True, **settings), tmp_path / "other")
    assert len(compiled) == 1
    assert other.losses == plain.losses


def test_a_blind_connector_takes_no_steps(tmp_path: Path) -> None:
    recipe = tiny_recipe(tmp_path, train=TRAIN[:1]).blind()
    result, shown = run(recipe, tmp_path / "out")
    assert (result.steps, result.samples_per_second, result.losses) == (0, 0.0, ())
    assert "used without images; no steps" in shown
    assert (tmp_path / "out" / "config.json").exists()


def test_a_stage_may_end_with_its_bestweights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = iter([0.5, 0.3, 0.4, 0.6])
    monkeypatch.setattr(
        loop, "validate", lambda *_: ({"language_modeling": next(losses)}, {"accuracy": 0.0})
    )
    changes = {"validate_every": 0.25, "checkpoint_every": 1.0, "finish": "best"}
    recipe = tiny_recipe(tmp_path, **changes)
    _, said = run(recipe, tmp_path / "run")
    assert "ends with the weights of step 6, whose validation loss was 0.3000" in said
    folder = tmp_path / "run/checkpoints"
    assert sorted(path.name for path in folder.iterdir()) == ["step-00000006", "step-00000012"]
    best = load_file(folder / "step-00000006/trained.safetensors")
    final = weights(tmp_path / "run")
    assert all(torch.equal(final[name.removeprefix("model.")], w) for name, w in best.items())


def test_a_validation_loss_that_is_no_number_is_not_the_best(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = iter([0.3, float("nan"), 0.9, 1.0])
    monkeypatch.setattr(loop, "validate", lambda *_: ({"loss": next(measured)}, {}))
    recipe = tiny_recipe(tmp_path, validate_every=0.25, finish="best")
    _, said = run(recipe, tmp_path / "out")
    assert "whose validation loss was 0.3000" in said
