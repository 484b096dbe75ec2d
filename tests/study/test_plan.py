"""A plan counts what a step does, without doing it."""

import json
from dataclasses import replace
from itertools import groupby
from typing import Any

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from isthmus import fusion as fusions
from isthmus import recipes
from isthmus.axes import Batch
from isthmus.cli import main
from isthmus.connectors import default
from isthmus.study.devices import DEVICES, Device, device_of
from isthmus.study.plan import Assumed, StagePlan, architecture, on_meta, plan
from isthmus.study.shapes import Shapes, fused_attention
from isthmus.training.freeze import freeze_and_thaw, set_modes
from isthmus.training.models import ModelConfig
from isthmus.training.resolve import build
from isthmus.training.stage import Recipe
from isthmus.training.step import Trainee
from tests.marks import first_now

QUICK = recipes.resolve("microworld.quickstart")


def with_parts(connector: str, fusion: str, *, frames: int = 1) -> Recipe:
    assert isinstance(QUICK.model, ModelConfig)
    parts: dict[str, Any] = {"connector": default(connector), "fusion": fusions.default(fusion)}
    model = replace(QUICK.model, clip_frames=frames, **parts)
    (stage,) = QUICK.stages
    return replace(QUICK, model=model, stages=(replace(stage, feature_store=False),))


def counted(recipe: Recipe, batch: Batch) -> float:
    """What torch counts when the last stage of a recipe really takes a step."""
    (stage, model) = recipe.stages[-1], build(recipe.model)[0]
    trainee = Trainee(model, stage.objectives)
    freeze_and_thaw(trainee.parts(), stage.train)
    set_modes(trainee, trainee.parts(), stage.train)
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        trainee(batch, [1.0])[0].backward()
    return counter.get_total_flops()


@pytest.mark.parametrize(
    ("connector", "fusion", "frames"),
    [
        ("c_abstractor", "inline", 1),
        pytest.param("perceiver_resampler", "inline", 2, marks=pytest.mark.slow),
        pytest.param("mlp", "visual_expert", 1, marks=pytest.mark.slow),
        pytest.param("linear", "gated_cross_attention", 1, marks=pytest.mark.slow),
    ],
)
def test_operations_are_those_of_a_real_step(connector: str, fusion: str, frames: int) -> None:
    recipe = with_parts(connector, fusion, frames=frames)
    config: Any = architecture(recipe.model)
    places = torch.full((1, frames * config.num_placeholders), config.image_token_id)
    words = torch.randint(5, 50, (1, 20))
    ids = torch.cat([places, words], dim=1)
    labels = ids.clone()
    labels[:, : places.shape[1] + 10] = -100
    shape = (frames, 3, config.image_size, config.image_size)
    pixels = torch.randint(0, 256, shape, dtype=torch.uint8)
    batch = Batch(
        input_ids=ids, attention_mask=torch.ones_like(ids), labels=labels, pixel_values=pixels
    )
    # A token of ours is the placeholder in a built model, and lies behind the vocabulary in a plan.
    found = plan(recipe, DEVICES["a100"], Assumed(text_tokens=20)).stages[0]
    token = build(recipe.model)[0].config.image_token_id
    real = replace(batch, input_ids=ids.masked_fill(ids == config.image_token_id, token))
    assert found.flops_per_sample == counted(recipe, real)


@pytest.mark.slow
def test_images_and_texts_held_together_are_planned_too() -> None:
    recipe = recipes.resolve("microworld.blip2_alignment")
    found = plan(recipe, DEVICES["a100"]).to_dict()
    assert found["parameters"].keys() == {"vision_tower", "connector", "heads"}
    assert found["flops_per_sample"] > 0
    assert found["total_hours"] > 0


def test_a_stored_tower_costs_once_and_a_thawed_one_each_time() -> None:
    stored = plan(QUICK, DEVICES["a100"]).stages[0]
    online = plan(with_parts("linear", "inline"), DEVICES["a100"]).stages[0]
    assert stored.feature_store_gb is not None
    assert online.feature_store_gb is None
    apart = online.flops_per_sample - stored.flops_per_sample
    assert apart == pytest.approx(stored.tower_flops_per_image)


def test_what_is_alive_is_counted() -> None:
    """x of 4 x 8 by a weight of 8 x 16: what backward needs stays, everything else goes."""
    weight = torch.empty(8, 16, device="meta", requires_grad=True)
    shapes = Shapes([weight])
    assert shapes.bytes == 4 * 8 * 16
    with shapes:
        x = torch.empty(4, 8, device="meta")
        y = x @ weight
        assert shapes.bytes == 4 * (8 * 16 + 4 * 8 + 4 * 16)
        loss = y.relu().sum()
        del y
        assert shapes.bytes == 4 * (8 * 16 + 4 * 8 + 4 * 16 + 1)  # relu kept its result alone
        loss.backward()
        del loss
        assert shapes.bytes == 4 * (2 * 8 * 16 + 4 * 8)
    assert shapes.most_bytes > shapes.bytes


def test_numbers_are_known_where_the_flow_depends_on_them() -> None:
    with Shapes():
        ids = torch.arange(6, device="meta")
        mask = ids > 2
        values = torch.empty(6, 5, device="meta")
        assert int(mask.sum()) == 3
        assert values[mask].shape == (3, 5)
        with pytest.raises(RuntimeError, match="cannot be called on meta tensors"):
            values.sum().item()


def test_attention_keeps_no_weights() -> None:
    query, key = torch.empty(1, 4, 64, 8, device="meta"), torch.empty(1, 2, 64, 8, device="meta")
    usual = torch.nn.functional.scaled_dot_product_attention
    shapes = Shapes()
    with shapes, fused_attention():
        found = torch.nn.functional.scaled_dot_product_attention(query, key, key, enable_gqa=True)
    assert found.shape == query.shape
    assert shapes.most_bytes < 4 * 4 * 64 * 64  # of the weights alone
    assert torch.nn.functional.scaled_dot_product_attention is usual


PUBLISHED = [name for name in recipes.names() if not name.startswith("microworld.")]
FAMILIES = groupby(PUBLISHED, key=lambda name: name.partition(".")[0])


@pytest.mark.parametrize(
    "name", [name for _, family in FAMILIES for name in first_now(list(family))]
)
def test_recipes_are_built_without_weights(name: str) -> None:
    """On the meta device, from configurations of ours."""
    for model in {each.digest(): each for each in recipes.resolve(name).models}.values():
        built = on_meta(architecture(model))
        assert all(value.is_meta for value in built.parameters())


@pytest.mark.parametrize(
    ("name", "connector", "tokens"),
    [
        ("c_abstractor_7b_m144", 37_070_336, 144),
        ("c_abstractor_13b_m576", 47_885_824, 576),
        ("d_abstractor_7b_m144", 55_616_352, 144),
        ("d_abstractor_13b_m256", 57_108_544, 256),
        ("short_linear_7b", 4_198_400, 256),
        ("short_mlp_7b", 20_979_712, 256),
        ("short_resampler_7b_m144", 106_224_640, 144),
        ("short_resampler_7b_m256", 106_339_328, 256),
    ],
)
def test_connectors_of_honeybee_have_the_published_sizes(
    name: str, connector: int, tokens: int
) -> None:
    config = architecture(recipes.resolve(f"honeybee.{name}").model)
    parts = on_meta(config).parts()
    assert sum(p.numel() for p in parts["connector"].parameters()) == connector
    assert config.num_image_tokens == tokens


def on_devices(num: int, *, sharded: bool) -> StagePlan:
    """The plan of the quick start with 8 samples on each device."""
    (stage,) = QUICK.stages
    schedule = replace(stage.schedule, batch_size=8 * num)
    recipe = replace(QUICK, stages=(replace(stage, schedule=schedule),))
    assumed = Assumed(devices=num, sharded=sharded)
    return plan(recipe, device_of("a100"), assumed).stages[0]


@pytest.mark.slow
def test_each_device_holds_a_part_of_what_is_shared_out() -> None:
    two, four = (on_devices(num, sharded=True) for num in (2, 4))
    # Weights of all parts; of what learns also gradients and two moments, in float32.
    shared = 4 * sum(two.parameters.values()) + 12 * sum(two.trained.values())
    apart = two.peak_memory_gb - four.peak_memory_gb
    assert apart == pytest.approx(shared * (1 / 2 - 1 / 4) / 1e9, rel=0.01)
    moments = 8 * sum(two.trained.values()) / 1e9
    assert four.peak_memory_gb < on_devices(4, sharded=False).peak_memory_gb - moments / 2


@pytest.mark.slow
def test_all_but_the_layers_is_there_whole() -> None:
    (stage,) = QUICK.stages
    alone = replace(QUICK, stages=(replace(stage, train=stage.train[:1]),))
    apart, whole = (
        plan(alone, device_of("a100"), Assumed(sharded=sharded)).stages[0]
        for sharded in (True, False)
    )
    outside = 4 * (apart.parameters["vision_tower"] + apart.parameters["connector"]) / 1e9
    inside = 4 * apart.parameters["language_model"] / 1e9
    assert outside < apart.peak_memory_gb - whole.peak_memory_gb < outside + inside


@pytest.mark.parametrize("sharded", first_now([True, False]))
def test_gradients_stay_whole_until_their_last_piece(sharded: bool) -> None:
    (stage,) = QUICK.stages
    pieces = replace(stage.schedule, batch_size=16, accumulation=2)
    recipe = replace(QUICK, stages=(replace(stage, schedule=pieces, dtype="float32"),))
    whole = replace(QUICK, stages=(replace(stage, dtype="float32"),))
    found, at_once = (
        plan(each, device_of("a100"), Assumed(sharded=sharded)).stages[0]
        for each in (recipe, whole)
    )
    # The most is alive with the loss, before the first gradient of a step.
    gradients = 4 * sum(found.trained.values()) / 1e9
    apart = found.peak_memory_gb - at_once.peak_memory_gb
    assert apart == pytest.approx(gradients, rel=0.02)


def test_what_has_no_language_model_cannot_be_sharded() -> None:
    recipe = recipes.resolve("microworld.blip2_alignment")
    with pytest.raises(ValueError, match="'alignment' cannot be sharded"):
        plan(recipe, device_of("a100"), Assumed(devices=2, sharded=True))


@pytest.mark.slow
def test_the_command_says_it_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "honeybee.c_abstractor_7b_m144", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["parameters"]["connector"] == 37_070_336
    assert found["visual_tokens"] == 144
    assert {"flops_per_sample", "peak_memory_gb", "step_seconds", "total_hours"} <= found.keys()


def test_the_command_takes_fields_of_the_recipe(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["plan", "microworld.quickstart", "--device", "100,0.001"]
    assert main([*command, "--stages.0.schedule.batch-size", "16"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "samples at once: 16" in told
    assert "GB are more than the 0.001 GB of the device: raise accumulation" in told


@pytest.mark.parametrize("name", ["devices", "text_tokens", "samples"])
def test_a_number_that_cannot_be_is_named(name: str) -> None:
    given: dict[str, Any] = {name: 0}
    with pytest.raises(ValueError, match=f"{name} is 0; expected 1 or more"):
        Assumed(**given)


def test_devices_are_known_by_name_or_by_their_figures() -> None:
    assert device_of("h100") == DEVICES["h100"]
    assert device_of("312,80") == Device(teraflops=312, memory_gb=80)
    assert device_of("312,80,0.5").share == 0.5
    reasons = {"h10": "did you mean 'h100'", "1": "give its figures", "0,1": "more than 0"}
    reasons |= {"nan,80": "finite", "312,inf": "finite"}
    for wrong, why in reasons.items():
        with pytest.raises(ValueError, match=why):
            device_of(wrong)
