"""A plan counts what a step does, without doing it."""

import json
from collections.abc import Iterable
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any, Literal, cast, final
from weakref import finalize

import pytest
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from isthmus import fusion as fusions
from isthmus import recipes
from isthmus.axes import Batch
from isthmus.cli import main
from isthmus.connectors import default
from isthmus.study.architecture import architecture, on_meta
from isthmus.study.devices import DEVICES, Device, device_of
from isthmus.study.plan import Assumed, StagePlan, plan
from isthmus.training.data import FileData
from isthmus.training.freeze import freeze_and_thaw, recomputed_layers, set_modes
from isthmus.training.models import ModelConfig
from isthmus.training.resolve import build
from isthmus.training.stage import Recipe
from isthmus.training.step import Trainee, autocast
from tests.marks import first_now

QUICK = recipes.resolve("microworld.quickstart")


def with_parts(connector: str, fusion: str, *, frames: int = 1) -> Recipe:
    assert isinstance(QUICK.model, ModelConfig)
    parts: dict[str, Any] = {"connector": default(connector), "fusion": fusions.default(fusion)}
    model = replace(QUICK.model, clip_frames=frames, **parts)
    (stage,) = QUICK.stages
    return replace(QUICK, model=model, stages=(replace(stage, feature_store=False),))


def trainee_of(recipe: Recipe) -> Trainee:
    """A model with weights, and what its last stage trains of it."""
    (stage, model) = recipe.stages[-1], build(recipe.model)[0]
    trainee = Trainee(model, stage.objectives)
    freeze_and_thaw(trainee.parts(), stage.train)
    set_modes(trainee, trainee.parts(), stage.train)
    return trainee


def batch_of(config: Any, num: int, *, frames: int = 1) -> Batch:
    """Samples of 20 words, of which the last ten are learned."""
    places = torch.full((num, frames * config.num_placeholders), config.image_token_id)
    ids = torch.cat([places, torch.randint(5, 50, (num, 20))], dim=1)
    labels = ids.clone()
    labels[:, : places.shape[1] + 10] = -100
    shape = (num * frames, 3, config.image_size, config.image_size)
    pixels = torch.randint(0, 256, shape, dtype=torch.uint8)
    mask = torch.ones_like(ids)
    return Batch(input_ids=ids, attention_mask=mask, labels=labels, pixel_values=pixels)


def counted(trainee: Trainee, batch: Batch) -> float:
    """What torch counts when a step is really taken."""
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
    found = plan(recipe, DEVICES["a100"], Assumed(text_tokens=20)).stages[0]
    trainee = trainee_of(recipe)
    batch = batch_of(cast(Any, trainee.model).config, 1, frames=frames)
    assert found.flops_per_sample == counted(trainee, batch)


@final
class Alive(TorchDispatchMode):
    """Counts the bytes of the tensors that operations make, and the most at once."""

    def __init__(self, held: Iterable[Tensor]) -> None:
        super().__init__()
        self.bytes = self.most = 0
        self.known = {each.untyped_storage()._cdata for each in held}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for each in (each for each in tree_leaves(result) if isinstance(each, Tensor)):
            storage = each.untyped_storage()
            if (key := storage._cdata) not in self.known:
                self.known.add(key)
                self.bytes += storage.nbytes()
                self.most = max(self.most, self.bytes)
                finalize(storage, self.forget, key, storage.nbytes())
        return result

    def forget(self, key: int, size: int) -> None:
        self.known.discard(key)
        self.bytes -= size


@pytest.mark.parametrize(
    ("dtype", "learning", "recomputed", "pieces"),
    [
        ("bfloat16", 1, False, 1),  # frozen weights have copies in half precision, too
        pytest.param("bfloat16", 1, True, 1, marks=pytest.mark.slow),
        pytest.param("bfloat16", 2, False, 1, marks=pytest.mark.slow),
        # Copies of weights that learn stay up to the loss, even if layers run again.
        pytest.param("bfloat16", 2, True, 2, marks=pytest.mark.slow),
        pytest.param("float32", 2, True, 1, marks=pytest.mark.slow),
    ],
)
def test_memory_is_that_of_a_real_step(
    dtype: Literal["float32", "bfloat16"], learning: int, recomputed: bool, pieces: int
) -> None:
    start = with_parts("linear", "inline")
    (stage,) = start.stages
    size = 4 // pieces**2
    schedule = replace(stage.schedule, batch_size=size * pieces, accumulation=pieces)
    stage = replace(stage, dtype=dtype, train=stage.train[:learning], schedule=schedule)
    stage = replace(stage, gradient_checkpointing=recomputed)
    recipe = replace(start, stages=(stage,))
    planned = plan(recipe, DEVICES["a100"], Assumed(text_tokens=20)).stages[0].peak_memory_gb

    trainee = trainee_of(recipe)
    weights = [*trainee.parameters(), *trainee.buffers()]
    batch = batch_of(cast(Any, trainee.model).config, size)
    given = (batch.input_ids, batch.attention_mask, batch.labels, batch.pixel_values)
    alive = Alive([*weights, *(each for each in given if each is not None)])
    with alive, recomputed_layers(trainee, enabled=recomputed):
        for _ in range(pieces):
            with autocast(torch.device("cpu"), getattr(torch, dtype)):
                total = trainee(batch, [1.0])[0]
            total.backward()
    moments = sum(8 * p.numel() for p in trainee.parameters() if p.requires_grad)
    taken = sum(each.nbytes for each in weights) + moments + alive.most
    assert taken / 1e9 == pytest.approx(planned, rel=0.01)


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


@pytest.mark.slow
def test_each_frame_of_a_clip_is_stored() -> None:
    one, eight = (with_parts("perceiver_resampler", "inline", frames=n) for n in (1, 8))
    stored = []
    for recipe in (one, eight):
        (stage,) = recipe.stages
        kept = replace(recipe, stages=(replace(stage, feature_store=True),))
        stored.append(plan(kept, DEVICES["a100"]).stages[0])
    assert stored[1].feature_store_gb == 8 * cast(float, stored[0].feature_store_gb)
    steps = [cast(int, each.steps) * each.step_seconds / 3600 for each in stored]
    tower = [cast(float, each.hours) - took for each, took in zip(stored, steps, strict=True)]
    assert tower[1] == pytest.approx(8 * tower[0])


@pytest.mark.slow
def test_a_checkpoint_holds_what_earlier_stages_changed() -> None:
    (stage,) = QUICK.stages
    first = replace(stage, train=stage.train[1:], name="first")
    second = replace(stage, train=stage.train[:1], name="second")
    alone, after = (
        plan(replace(QUICK, stages=stages), DEVICES["a100"]).stages[-1]
        for stages in ((second,), (first, second))
    )
    earlier = 4 * 3 * after.parameters["language_model"] / 1e9
    assert after.checkpoint_gb - alone.checkpoint_gb == pytest.approx(earlier, rel=1e-3)


@pytest.mark.slow
def test_a_checkpoint_holds_what_was_handed_over() -> None:
    """Of MiniGPT-4's twin, one layer learns in the second part, behind a Q-Former of the first."""
    recipe = recipes.resolve("microworld.blip2_minigpt4")
    first, *_ = (stage for stage in recipe.stages if stage.hand_over)
    number = recipe.stages.index(first)
    found = plan(recipe, DEVICES["a100"]).stages[number]
    assert found.checkpoint_gb > 4 * 3 * found.parameters["connector"] / 1e9
    assert sum(found.trained.values()) < found.parameters["connector"] / 10


@pytest.mark.slow
def test_stages_are_timed_in_their_number_format() -> None:
    (stage,) = QUICK.stages
    both = [
        replace(QUICK, stages=(replace(stage, dtype=dtype),)) for dtype in ("float32", "bfloat16")
    ]
    seconds = [plan(each, DEVICES["h100"]).stages[0].step_seconds for each in both]
    assert seconds[0] / seconds[1] == pytest.approx(989 / 67)
    own = [plan(each, device_of("989,80")).stages[0].step_seconds for each in both]
    assert own == [seconds[1], seconds[1]]


@pytest.mark.parametrize(("samples", "steps"), [(1001, 3 * 126), (None, None)])
def test_epochs_are_counted_by_the_samples_of_a_published_file(
    samples: int | None, steps: int | None
) -> None:
    (stage,) = QUICK.stages
    file = FileData(file=Path("published.json"), image_root=Path("images"), samples=samples)
    schedule = replace(stage.schedule, epochs=3, steps=None, batch_size=8)
    recipe = replace(QUICK, stages=(replace(stage, data=file, schedule=schedule),))
    (found,) = plan(recipe, DEVICES["a100"]).stages
    assert (found.samples, found.steps) == (samples, steps)
    assert (found.hours is None) == (samples is None)


@pytest.mark.slow
def test_nobody_knows_how_many_samples_are_packed() -> None:
    (stage,) = QUICK.stages
    packed = replace(QUICK, stages=(replace(stage, pack_tokens=256),))
    assert plan(packed, DEVICES["a100"]).stages[0].steps is None
    assert plan(packed, DEVICES["a100"], Assumed(samples=80)).stages[0].steps is not None


def test_more_devices_than_samples_are_refused() -> None:
    with pytest.raises(ValueError, match=r"in 64 pieces, and each piece needs at least 1;"):
        plan(QUICK, DEVICES["a100"], Assumed(devices=64))


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
def test_processes_tell_each_other_gradients_in_buckets() -> None:
    """They are there from the beginning, and the gradients in them."""
    one, two, four = (on_devices(num, sharded=False) for num in (1, 2, 4))
    assert two.peak_memory_gb == four.peak_memory_gb
    gradients = 4 * sum(one.trained.values()) / 1e9
    # The most is alive with the loss, before the first gradient of a step.
    assert two.peak_memory_gb - one.peak_memory_gb == pytest.approx(gradients, rel=0.02)


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


def test_devices_have_a_rate_for_each_number_format() -> None:
    known, own = DEVICES["a100"], device_of("312,80,0.5")
    assert (known.rate("bfloat16"), known.rate("float32")) == (0.4 * 312e12, 0.4 * 19.5e12)
    assert own.rate("bfloat16") == own.rate("float32") == 0.5 * 312e12


def test_devices_are_known_by_name_or_by_their_figures() -> None:
    assert device_of("h100") == DEVICES["h100"]
    assert device_of("312,80") == Device(teraflops=312, memory_gb=80)
    assert device_of("312,80,0.5").share == 0.5
    reasons = {"h10": "did you mean 'h100'", "1": "give its figures", "0,1": "more than 0"}
    reasons |= {"nan,80": "finite", "312,inf": "finite"}
    for wrong, why in reasons.items():
        with pytest.raises(ValueError, match=why):
            device_of(wrong)
