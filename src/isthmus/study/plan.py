"""What a run will cost, found out before a weight is loaded.

The model of each stage is built on the meta device, and a step of it is taken there, forward and
backward: torch's own counter counts its operations, and what is alive at once is its memory. What
is assumed is the length of texts, and the share of a device's figures that training gets.
"""

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from math import ceil
from typing import Any, final

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from isthmus.axes import Batch
from isthmus.modeling.lora import add_lora
from isthmus.modeling.modeling_alignment import IsthmusForAlignment
from isthmus.study.architecture import architecture, on_meta
from isthmus.study.devices import Device
from isthmus.study.four_bit import keep_in_four_bits
from isthmus.study.shapes import Kernels, Shapes, backward
from isthmus.training.data import FileData, MicroworldData
from isthmus.training.feature_formats import FeatureFormat
from isthmus.training.freeze import (
    changed_values,
    freeze_and_thaw,
    recomputed_layers,
    set_modes,
)
from isthmus.training.hand_over import heirs_at
from isthmus.training.pieces import check_pieces, least_samples
from isthmus.training.resolve import set_attention
from isthmus.training.sharding import check_recipe, gathered_alone
from isthmus.training.stage import Recipe, Stage
from isthmus.training.step import Trainee

GIB = 1 << 30
KEPT_CHECKPOINTS = 3
"""The newest two, and the best one."""
_MOMENTS = 2
"""Numbers that AdamW keeps for each that learns."""


@final
@dataclass(frozen=True, kw_only=True)
class Assumed:
    """What a plan cannot know."""

    text_tokens: int = 128
    """Of a sample, question and answer together; half of them are learned. Of a row, where samples
    are packed."""
    images: int = 1
    """Of a sample; a clip that the connector reads as one counts once."""
    samples: int | None = None
    """Of the data, where a stage counts epochs; None asks the recipe."""
    devices: int = 1
    sharded: bool = False
    """Whether each device holds a part of every weight (FSDP2), or all of them."""

    def __post_init__(self) -> None:
        """Checks the numbers.

        Raises:
            ValueError: one is less than it can be.
        """
        least = {"text_tokens": 1, "images": 0, "samples": 1, "devices": 1}
        for name, fewest in least.items():
            if (value := getattr(self, name)) is not None and value < fewest:
                raise ValueError(f"{name} is {value}; expected {fewest} or more")


@final
@dataclass(frozen=True, kw_only=True)
class StagePlan:
    """The cost of a stage."""

    name: str
    parameters: Mapping[str, int]
    """By part."""
    trained: Mapping[str, int]
    """Those of them that learn."""
    visual_tokens: int
    """Of an image; of a model without a language model, its queries."""
    flops_per_sample: float
    """Forward and backward, of a step that reads the pixels or what the tower saw of them."""
    tower_flops_per_image: float
    """Forward alone; where the feature store is used, each image costs it once."""
    batch_per_device: int
    """Samples computed at once."""
    peak_memory_gb: float
    """Of a device: weights, gradients, moments and activations; not what the kernels themselves and
    the allocator take."""
    step_seconds: float
    samples: int | None
    """Of the data, by which epochs are counted; None where nobody knows."""
    steps: int | None
    """None where nobody knows how many samples there are."""
    hours: float | None
    checkpoint_gb: float
    """On disk, of all checkpoints that are kept: what was changed or handed over so far, and the
    moments of what learns."""
    feature_store_gb: float | None
    """On disk; None where there is none, or nobody knows how many images there are."""


@final
@dataclass(frozen=True, kw_only=True)
class Plan:
    """The cost of a run."""

    recipe: str
    stages: tuple[StagePlan, ...]

    def to_dict(self) -> dict[str, Any]:
        """Returns the plan as JSON-able values: of the last stage, of the whole, and by stage."""
        last = self.stages[-1]
        hours = [stage.hours for stage in self.stages]
        known = [each for each in hours if each is not None]
        return {
            "recipe": self.recipe,
            "parameters": dict(last.parameters),
            "visual_tokens": last.visual_tokens,
            "flops_per_sample": last.flops_per_sample,
            "peak_memory_gb": max(stage.peak_memory_gb for stage in self.stages),
            "step_seconds": last.step_seconds,
            "total_hours": sum(known) if len(known) == len(hours) else None,
            "stages": [asdict(stage) for stage in self.stages],
        }


def plan(recipe: Recipe, device: Device, assumed: Assumed | None = None) -> Plan:
    """Returns what a recipe costs; no weights are loaded, and no data are read.

    Args:
        recipe: to be planned.
        device: on which it will run.
        assumed: what cannot be known.

    Raises:
        ValueError: a part's configuration cannot be had, a stage cannot be sharded, or its batches
            have too few samples for their pieces on so many devices.
    """
    assumed = assumed or Assumed()
    if assumed.sharded:
        check_recipe(recipe, "--sharded")
    stages = [_planned(recipe, n, device, assumed) for n in range(len(recipe.stages))]
    return Plan(recipe=recipe.name, stages=tuple(stages))


def _planned(recipe: Recipe, number: int, device: Device, assumed: Assumed) -> StagePlan:
    stage, schedule = recipe.stages[number], recipe.stages[number].schedule
    check_pieces(stage, assumed.devices)
    four_bit = getattr(recipe.models[number], "four_bit", False)
    model: Any = on_meta(architecture(recipe.models[number]))
    set_attention(model, recipe.models[number].attention)
    trainee = Trainee(model, stage.objectives)
    parts = trainee.parts()
    so_far = [p for s in recipe.since(number) for p in s.train if p.name in parts]
    for part in so_far:
        if part.lora:
            with torch.device("meta"):
                add_lora(parts[part.name], part.lora)
    rows = freeze_and_thaw(parts, stage.train)
    set_modes(trainee, parts, stage.train)
    least = least_samples(stage)
    at_once = ceil(schedule.batch_size / (schedule.accumulation * assumed.devices))
    seen, states = _tower(model)
    flops = _flops(trainee, stage, _batch(model, stage, least, assumed, states)) / least
    samples = _num_samples(stage, assumed)
    steps = schedule.steps
    if steps is None and samples is not None:
        steps = ceil(samples / schedule.batch_size) * (schedule.epochs or 0)
    # Most of it goes through layers of four bits, whose products are in half precision.
    rate = device.rate("bfloat16" if four_bit else stage.dtype) * assumed.devices
    seconds = schedule.batch_size * flops / rate
    stored = _num_images(model, assumed) * samples if stage.feature_store and samples else None
    tower_hours = 0.0 if stored is None else stored * seen / rate / 3600
    moving = _kept_beside(stage) * sum(row.trainable for row in rows)
    heirs = heirs_at(model, recipe, number)
    written = moving + sum(value.numel() for value in changed_values(parts, so_far, heirs))
    format_ = FeatureFormat.of(stage.feature_dtype, getattr(torch, stage.dtype))
    whole = _batch(model, stage, at_once, assumed, states, format_.computed)
    if four_bit:
        keep_in_four_bits(parts["language_model"])
    return StagePlan(
        name=stage.name,
        parameters={row.part: row.parameters for row in rows},
        trained={row.part: row.trainable for row in rows},
        visual_tokens=_visual_tokens(model),
        flops_per_sample=flops,
        tower_flops_per_image=seen,
        batch_per_device=at_once,
        peak_memory_gb=_memory(trainee, stage, whole, assumed) / 1e9,
        step_seconds=seconds,
        samples=samples,
        steps=steps,
        hours=None if steps is None else steps * seconds / 3600 + tower_hours,
        checkpoint_gb=4 * written * KEPT_CHECKPOINTS / 1e9,
        feature_store_gb=None if stored is None else stored * format_.num_bytes(*states) / 1e9,
    )


def _kept_beside(stage: Stage) -> int:
    """Returns how many numbers are kept of each that learns: moments, and perhaps an average."""
    return _MOMENTS + (stage.ema is not None)


def _visual_tokens(model: Any) -> int:
    if isinstance(model, IsthmusForAlignment):
        return model.config.qformer.num_queries
    return model.config.num_image_tokens


def _tower(model: Any) -> tuple[float, tuple[int, int]]:
    """Returns the tower's operations on an image, how many vectors it gives, and their width."""
    with Shapes(), _counting() as counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        states = model.encode_images(_pixels(model, 1)).states
    return counter.get_total_flops(), (states.shape[1], states.shape[2])


def _flops(trainee: Trainee, stage: Stage, batch: Batch) -> float:
    """Returns the operations of a step; attention is counted as its products."""
    recomputed = recomputed_layers(trainee, enabled=stage.gradient_checkpointing)
    with Shapes(), _counting() as counter, sdpa_kernel(SDPBackend.MATH), recomputed:
        _step(trainee, batch)
    trainee.zero_grad()
    return counter.get_total_flops()


def _memory(trainee: Trainee, stage: Stage, batch: Batch, assumed: Assumed) -> int:
    """Returns the bytes that a step needs at once."""
    learned = [p for p in trainee.parameters() if p.requires_grad]
    gradients = sum(4 * p.numel() for p in learned)
    weights = _num_bytes(trainee) + sum(each.nbytes for each in trainee.buffers())
    held = weights + _kept_beside(stage) * gradients
    in_pieces = stage.schedule.accumulation > 1
    if assumed.sharded:
        held = (held + gradients) // assumed.devices + _gathered(trainee)
        layers = gathered_alone(trainee.model.model.language_model)
        elsewhere = [p for layer in layers for p in layer.parameters() if p.requires_grad]
    elif assumed.devices > 1:
        held += gradients  # the buckets in which processes tell each other
        elsewhere = learned
    else:
        elsewhere = []
    for weight in [] if in_pieces else elsewhere:
        weight.register_post_accumulate_grad_hook(_hand_on)
    half = getattr(torch, stage.dtype) if stage.dtype != "float32" else None
    kernels, shapes = Kernels(half), Shapes([*trainee.parameters(), *trainee.buffers()])
    begun = shapes.bytes
    with (
        shapes,
        kernels,
        recomputed_layers(trainee, enabled=stage.gradient_checkpointing),
    ):
        for _ in range(2 if in_pieces else 1):  # the second meets gradients of the first
            _step(trainee, batch, kernels)
    trainee.zero_grad()
    return held + shapes.most_bytes - begun


def _hand_on(weight: Tensor) -> None:
    """Drops a gradient that is whole: it is in a bucket, or each device has kept its part."""
    weight.grad = None


def _gathered(trainee: Trainee) -> int:
    """Returns the bytes that a device has whole: of the layers, the one due and the next."""
    assert not isinstance(trainee.model, IsthmusForAlignment)  # of a recipe that was checked
    layers = [_num_bytes(layer) for layer in gathered_alone(trainee.model.model.language_model)]
    return _num_bytes(trainee) - sum(layers) + 2 * max(layers, default=0)


def _num_bytes(module: torch.nn.Module) -> int:
    return sum(p.numel() * p.element_size() for p in module.parameters())


def _step(trainee: Trainee, batch: Batch, kernels: Kernels | None = None) -> None:
    with kernels.forward_pass() if kernels else nullcontext():
        total, _, _ = trainee(batch, [1.0] * len(trainee.weights))
    if total.requires_grad:
        backward(total)


def _num_images(model: Any, assumed: Assumed) -> int:
    """Returns the images of a sample, each frame of its clips counted."""
    frames = 1 if isinstance(model, IsthmusForAlignment) else model.config.clip_frames
    return assumed.images * frames


def _batch(
    model: Any,
    stage: Stage,
    size: int,
    assumed: Assumed,
    states: tuple[int, int],
    computed: torch.dtype = torch.float32,
) -> Batch:
    """Returns samples of the assumed lengths; pixels have no content."""
    config = model.config
    images = 0 if stage.blind else _num_images(model, assumed)
    shown: dict[str, Any] = {}
    if images and stage.feature_store:
        kept = torch.empty(size * images, *states, dtype=computed, device="meta")
        shown["patch_features"] = kept
    elif images:
        shown["pixel_values"] = _pixels(model, size * images)
    if isinstance(model, IsthmusForAlignment):
        ids = torch.full((size, config.max_caption_tokens), 5)
        return Batch(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            image_ids=torch.arange(size),
            **shown,
        )
    places = torch.full((size, images * config.num_placeholders), config.image_token_id)
    words = torch.ones(size, assumed.text_tokens, dtype=torch.long)
    read = words.shape[1] // 2
    if config.is_encoder_decoder:
        ids = torch.cat([places, words[:, :read]], dim=1)
        return Batch(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            labels=words[:, read:],
            decoded=True,
            **shown,
        )
    ids = torch.cat([places, words], dim=1)
    labels = ids.clone()
    labels[:, : places.shape[1] + read] = -100
    return Batch(input_ids=ids, attention_mask=torch.ones_like(ids), labels=labels, **shown)


def _pixels(model: Any, num: int) -> Tensor:
    width, height = model.config.resize.size
    return torch.empty(num, 3, height, width, dtype=torch.uint8, device="meta")


def _num_samples(stage: Stage, assumed: Assumed) -> int | None:
    if assumed.samples is not None:
        return assumed.samples
    match stage.data:
        # A row that is packed holds several, and nobody knows how many.
        case MicroworldData(num=told) | FileData(samples=told) if stage.pack_tokens is None:
            return told
        case _:
            return None


def _counting() -> FlopCounterMode:
    return FlopCounterMode(display=False)
