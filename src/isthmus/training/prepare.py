"""Before the first step of a stage: freeze, open the data, build the optimizer, restore."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, cast, final

import torch
from accelerate import Accelerator
from rich.console import Console
from torch import Tensor, nn
from torch.optim import Optimizer

from isthmus.config import digest_of
from isthmus.data.ahead import made_ahead
from isthmus.data.quarantine import counts_of
from isthmus.modeling import fingerprint
from isthmus.modeling.lora import add_lora
from isthmus.modeling.modeling_alignment import IsthmusForAlignment
from isthmus.modeling.parts import Parts
from isthmus.modeling.weights import weights_of
from isthmus.training import run_folder
from isthmus.training.average import Average
from isthmus.training.checkpoint import Checkpoint, Position
from isthmus.training.course import Planned
from isthmus.training.freeze import (
    changed_values,
    freeze_and_thaw,
    part_table,
    trained_parameters,
)
from isthmus.training.hand_over import heirs_at
from isthmus.training.log import RunLog
from isthmus.training.optim import build_optimizer
from isthmus.training.pieces import check_pieces, pieces_of
from isthmus.training.resolve import Model, ModelProcessor, examples_of
from isthmus.training.schedule import lr_factor
from isthmus.training.sharding import forget_gathered, gathered, group_layers, is_sharded
from isthmus.training.stage import PartName, Recipe, Stage
from isthmus.training.stage_data import StageData, open_data
from isthmus.training.step import Piece, Trainee

_BLIND_PARTS = ("language_model", "objectives")
"""Parts through which a loss flows when there are no images."""


@final
@dataclass(kw_only=True)
class Run:
    """What the stages of a run share."""

    recipe: Recipe
    output: Path
    accelerator: Accelerator
    console: Console
    log: RunLog
    model: Model
    processor: ModelProcessor
    started: set[PartName]
    """Parts that are not as their towers are, since the recipe starts from a trained model."""
    facts: dict[str, Any]
    """What recipe.json tells besides the recipe; see `run_folder.describe`."""
    checkpoint: Checkpoint | None
    """Where the run goes on from."""
    position: Position
    """Where the run stands."""
    begun: float
    """Time at which the run would have begun, had it never been interrupted."""


@final
@dataclass(frozen=True, kw_only=True, slots=True)
class Due:
    """A step that is ready to be taken."""

    planned: Planned
    pieces: Sequence[Piece]
    """What this process computes of it."""


@final
@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A stage that is ready for its next step."""

    stage: Stage
    trainee: Trainee
    parts: Parts
    learner: nn.Module
    """The trainee as Accelerate, and perhaps torch.compile, wrapped it."""
    optimizer: Optimizer
    data: StageData
    num_steps: int
    around: tuple[int, int]
    """Steps of the schedule that lie in stages before this one, and behind it."""
    average: Average | None
    """Of the weights that learn, if one is kept."""
    accelerator: Accelerator
    learned: Sequence[Tensor]
    """What this stage or an earlier one changes; a checkpoint holds it."""
    relies_on: dict[str, str]
    """Fingerprints of what a checkpoint does not hold."""

    @cached_property
    def trained_parameters(self) -> list[nn.Parameter]:
        """The parameters that this stage trains."""
        return [
            p for part in self.stage.train for p in trained_parameters(part, self.parts[part.name])
        ]

    @property
    def is_continued(self) -> bool:
        """Whether the next stage goes on with what this one has gathered."""
        return self.around[1] > 0

    def lr_factor(self, step: int) -> float:
        """Returns the share of the peak learning rate at a step of the stage, from 0."""
        before, behind = self.around
        whole = before + self.num_steps + behind
        return lr_factor(before + step, whole, self.stage.schedule)

    def averages(self) -> dict[str, Tensor]:
        """Returns the average by the names in the model, whole; every process has to ask."""
        values = gathered(self.average.values()) if self.average else {}
        return _within_model(values)

    def learned_weights(self) -> dict[str, Tensor]:
        """Returns what was learned by the names in the model, whole; every process has to ask."""
        return _within_model(gathered(weights_of(self.trainee, self.learned)))

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Has the weights be their average for a while, where there is one."""
        with self.average.in_place() if self.average else nullcontext():
            yield
            forget_gathered(self.trainee)  # the next step would take them for the weights

    def steps(self, position: Position) -> Iterator[Due]:
        """Yields what this process computes of each step that is left, from a position on."""
        planned = self.data.train.planned(position.place)
        left = self.num_steps - position.stage_step
        return made_ahead(self._due, islice(planned, left), self.stage.num_workers)

    def validation(self) -> Iterator[Piece]:
        """Yields what this process computes of the validation set."""
        course = self.data.validation
        assert course is not None
        epoch = islice(course.planned((0, 0)), course.num_steps(1))
        for due in made_ahead(self._due, epoch, self.stage.num_workers):
            yield from due.pieces

    def _due(self, planned: Planned) -> Due:
        pieces = pieces_of(
            planned.dataset,
            planned.indices,
            accumulation=self.stage.schedule.accumulation,
            accelerator=self.accelerator,
        )
        return Due(planned=planned, pieces=pieces)


def prepare(run: Run, number: int, before: Prepared | None) -> Prepared:
    """Returns a stage of a run, ready for its next step.

    Args:
        run: that the stage is of.
        number: of the stage, from 0.
        before: the stage that it continues, if this process has been through that one.

    Raises:
        ValueError: a setting does not fit the model, a row of the data cannot be used, or the
            checkpoint is of another run.
    """
    stage, accelerator = run.recipe.stages[number], run.accelerator
    trainee = Trainee(run.model, stage.objectives)
    parts = trainee.parts()
    stages, heirs = run.recipe.since(number), heirs_at(run.model, run.recipe, number)
    so_far = [p for s in stages for p in s.train if p.name in parts]
    for part in so_far:
        if part.lora:
            add_lora(parts[part.name], part.lora)
    trainee.to(accelerator.device)
    rows = freeze_and_thaw(parts, stage.train)
    run.console.print(part_table(rows))

    towers = run.facts["towers"]
    trained_before = {part.name for s in stages[:-1] for part in s.train} | heirs
    checkpoint = run.checkpoint
    if checkpoint is not None and checkpoint.position.stage != number:
        checkpoint = None
    if checkpoint:
        checkpoint.load_weights(trainee)  # before the feature store asks the tower
    tower = towers["vision_tower"]
    if "vision_tower" in trained_before:
        tower = fingerprint.of_weights(parts["vision_tower"].state_dict())
    data = open_data(
        stage,
        run.model,
        run.processor,
        tower=tower,
        seed=run.recipe.seed,
        output=run.output,
        accelerator=accelerator,
        console=run.console,
    )
    check_pieces(stage, accelerator.num_processes)
    num_steps = _num_steps(run, stage, data)
    optimizer = build_optimizer(parts, stage.train, stage.schedule)

    # Weights beside low-rank updates stay frozen, so the checkpoint does not hold them.
    changed = {part.name for part in so_far if not part.lora} | heirs
    relies_on = {name: value for name, value in towers.items() if name not in changed}
    relies_on["data"] = data.fingerprint
    relies_on["encoding"] = digest_of(examples_of(run.model, run.processor).encoding)
    if data.validation_fingerprint is not None:
        relies_on["validation data"] = data.validation_fingerprint
    if checkpoint:
        checkpoint.check(relies_on)

    _prepare_shards(run, trainee)
    learner, optimizer = accelerator.prepare(trainee, optimizer)
    average = Average(_learning(trainee), stage.ema) if stage.ema else None
    if checkpoint:
        checkpoint.load_optimizer(optimizer)
        checkpoint.load_random_states(accelerator.process_index)
        if average:
            average.load(checkpoint.average())
    elif before is not None:
        _go_on(trainee, optimizer, average, before)
    run.facts["stages"][number:] = [
        {
            "name": stage.name,
            "steps": num_steps,
            "samples": data.train.num_samples,
            "rows": data.train.num_rows,
            "rejected": counts_of(data.rejected),
            "filtered": dict(data.filtered),
            "cut": data.train.num_cut(),
            "data": data.fingerprint,
            "parts": [row.to_dict() for row in rows],
            "feature_store": data.store.to_dict() if data.store else None,
        }
    ]
    if accelerator.is_main_process:
        run_folder.describe(run.output, run.recipe, **run.facts)
    return Prepared(
        stage=stage,
        trainee=trainee,
        parts=parts,
        learner=cast(nn.Module, torch.compile(learner, dynamic=True)) if stage.compile else learner,
        optimizer=optimizer,
        data=data,
        num_steps=num_steps,
        around=run.recipe.steps_around(number),
        average=average,
        accelerator=accelerator,
        learned=changed_values(parts, so_far, heirs),
        relies_on=relies_on,
    )


def _within_model(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    prefix = "model."
    return {n.removeprefix(prefix): v for n, v in values.items() if n.startswith(prefix)}


def _num_steps(run: Run, stage: Stage, data: StageData) -> int:
    """Returns the steps of a stage; none if there is nothing to learn without images."""
    if stage.blind and isinstance(run.model, IsthmusForAlignment):
        raise ValueError(
            f"stage {stage.name!r} is blind, but holds pictures and texts together; there is "
            "nothing to learn without pictures"
        )
    if stage.blind and not any(part.name in _BLIND_PARTS for part in stage.train):
        run.console.print(
            f"{stage.name}: nothing that is trained is used without images; no steps", markup=False
        )
        return 0
    schedule = stage.schedule
    return schedule.steps or data.train.num_steps(schedule.epochs or 0)


def _prepare_shards(run: Run, trainee: Trainee) -> None:
    """Says how a model is shared out, where it is."""
    trainee.is_sharded = is_sharded(run.accelerator)
    if not trainee.is_sharded:
        return
    assert not isinstance(run.model, IsthmusForAlignment)  # of a recipe that was checked
    group_layers(run.accelerator.state.fsdp_plugin, run.model.model.language_model)


def _learning(trainee: Trainee) -> dict[str, Tensor]:
    return {name: value for name, value in trainee.named_parameters() if value.requires_grad}


def _go_on(
    trainee: Trainee, optimizer: Optimizer, average: Average | None, before: Prepared
) -> None:
    """Takes over what the stage before has gathered beside the model's weights."""
    shapes, were = (
        {name: tuple(value.shape) for name, value in _learning(each).items()}
        for each in (trainee, before.trainee)
    )
    if changed := sorted(dict(shapes.items() ^ were.items())):
        raise ValueError(
            f"a stage continues {before.stage.name!r}, but {changed[0]!r} learns with the shape "
            f"{shapes.get(changed[0])}, and did with {were.get(changed[0])}; the optimizer can go "
            "on only with the same weights: set continues to False"
        )
    trainee.objectives.load_state_dict(before.trainee.objectives.state_dict())
    optimizer.load_state_dict(before.optimizer.state_dict())
    if average and before.average:
        average.load(before.average.values())
