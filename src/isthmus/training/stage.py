"""A recipe is a tuple of stages, and a stage is data: what is trained, for what, on what, and how.

Nothing here runs; `loop.train` does.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, final

from isthmus.config import Config
from isthmus.modeling.lora import Lora
from isthmus.objectives.base import ObjectiveConfig
from isthmus.objectives.language_modeling import LanguageModeling
from isthmus.training.data import Data
from isthmus.training.feature_formats import FeatureDtype
from isthmus.training.models import AlignmentConfig, HandOver, ModelConfig
from isthmus.training.schedule import Schedule

PartName = Literal["vision_tower", "connector", "fusion", "language_model", "heads", "objectives"]


@final
@dataclass(frozen=True, kw_only=True)
class Part(Config):
    """A part of the model that a stage trains; parts that are not named stay frozen."""

    name: PartName
    """Part of the model, or `objectives` for the parameters that the objectives own."""
    lr: float
    """Peak learning rate, per step."""
    lora: Lora | None = None
    """Low-rank updates that learn in place of the part's weights, which then stay frozen."""
    only: tuple[str, ...] = ()
    """Names of weights within the part that learn, all when empty; `*` stands for what is between
    dots, and `**` for more: `projection.*`."""
    layer_decay: float = 1.0
    """Factor on the learning rate from each layer of the part to the one below it; what stands
    behind the layers keeps the whole."""

    def __post_init__(self) -> None:
        """Checks the factor.

        Raises:
            ValueError: it is not above 0, or above 1.
        """
        if not 0 < self.layer_decay <= 1:
            raise ValueError(f"layer_decay is {self.layer_decay}; expected a factor in (0, 1]")
        if self.lora and self.only:
            raise ValueError(
                f"the part {self.name!r} has both lora and only; low-rank updates choose their own "
                "weights, so leave out one of them"
            )


@final
@dataclass(frozen=True, kw_only=True)
class Stage(Config):
    """One stretch of training, with one set of trained parts and one schedule."""

    name: str
    """What the log calls it."""
    train: tuple[Part, ...]
    """Parts that learn; the others are frozen."""
    data: Data
    """Samples to learn from."""
    schedule: Schedule
    """Length, batch and learning rate."""
    objectives: tuple[ObjectiveConfig, ...] = field(
        default_factory=lambda: (LanguageModeling.Config(),)
    )
    """Losses whose weighted sum is trained."""
    model: ModelConfig | AlignmentConfig | None = None
    """What is trained in place of the recipe's model, which is that of the last stages."""
    hand_over: HandOver | None = None
    """Weights that the stage's model takes over from another one, that of the stage before."""
    validation: Data | None = None
    """Samples whose loss is measured on the way; None measures none."""
    validate_every: float = 0.1
    """Share of the stage's steps between two validations."""
    checkpoint_every: float = 0.1
    """Share of the stage's steps between two checkpoints; besides, one is written whenever the
    validation loss is lower than ever. The newest two stay, and the best one."""
    keep_every: int | None = None
    """Every so many-th checkpoint stays for good; None keeps no others."""
    finish: Literal["last", "best"] = "last"
    """Which weights the stage ends with: those after its last step, or of the lowest validation
    loss."""
    ema: float | None = None
    """Share of the moving average of the learned weights that each step leaves as it is; the
    validation is of this average, and the stage ends with it. None keeps no average."""
    continues: bool = False
    """Go on with the optimizer, the learning rate and the average of the stage before, as if both
    were one: for a change of resolution or data on the way."""
    log_every: int = 1
    """Steps between two lines of the log; each line waits for the device."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Number format of the computation; weights that learn stay float32."""
    gradient_checkpointing: bool = False
    """Recompute each layer in the backward pass, to save memory."""
    compile: bool = False
    """Compile the model with torch.compile."""
    feature_store: bool = False
    """Run the frozen vision tower once over the images, and train from its outputs on disk."""
    feature_dtype: FeatureDtype = "as computed"
    """Number format of these outputs on disk: of the computation, or a smaller one."""
    feature_store_gib: float | None = None
    """Most that the outputs of all towers and runs may take on disk, in GiB: when this run's would
    pass it, those that were not used for the longest time are deleted. None deletes nothing."""
    num_workers: int = 1
    """Threads that prepare batches ahead; 0 prepares them in the loop."""
    pack_tokens: int | None = None
    """Put several samples in a row of so many tokens at most, text and visual ones, so that little
    of it is padding. The batch size counts rows then, and an epoch is as many steps as these make.
    None gives each sample a row."""
    pack_images: int | None = None
    """Most views of images in such a row, where their memory is what there is least of."""
    split_answers: bool = False
    """Let the encoder of the language model read the first words of each answer, and its decoder
    write the rest: how BLIP-2 learns from captions with T5."""
    blind: bool = False
    """Drop every image: the baseline that shows what the words alone give away."""

    def __post_init__(self) -> None:
        """Checks that the settings agree.

        Raises:
            ValueError: nothing or a part twice is trained, or a setting contradicts another.
        """
        names = [part.name for part in self.train]
        if not names or len(set(names)) < len(names):
            raise ValueError(f"stage {self.name!r} trains {names}; expected each part at most once")
        self._check_store(names)
        for name in ("validate_every", "checkpoint_every"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}; expected a share in (0, 1]")
        if self.pack_images is not None and self.pack_tokens is None:
            raise ValueError(
                f"pack_images is {self.pack_images}, but samples are not packed; set pack_tokens"
            )
        if self.keep_every is not None and self.keep_every < 1:
            raise ValueError(f"keep_every is {self.keep_every}; expected 1 or more, or None")
        if self.ema is not None and not 0 < self.ema < 1:
            raise ValueError(f"ema is {self.ema}; expected a share between 0 and 1, or None")
        if self.finish == "best" and self.validation is None:
            raise ValueError(
                f"stage {self.name!r} is to end with its best weights, but has no validation data "
                "to tell them by; name some, or let it end with the last"
            )

    def _check_store(self, trained: list[PartName]) -> None:
        if self.feature_store and "vision_tower" in trained:
            raise ValueError(
                f"stage {self.name!r} trains the vision tower, so its outputs cannot be stored; "
                "set feature_store to False, or freeze the tower"
            )
        if not self.feature_store:
            for name, unset in (("feature_dtype", "as computed"), ("feature_store_gib", None)):
                if getattr(self, name) != unset:
                    raise ValueError(
                        f"{name} is {getattr(self, name)!r}, but the vision tower's outputs are "
                        "not stored; set feature_store to True"
                    )
        if self.feature_store_gib is not None and self.feature_store_gib <= 0:
            raise ValueError(
                f"feature_store_gib is {self.feature_store_gib}; expected more than 0, or None"
            )


@final
@dataclass(frozen=True, kw_only=True)
class Recipe(Config):
    """Everything that decides a run: the model, and the stages that train it."""

    name: str
    """`family.name`, as on the command line."""
    description: str
    """One line for lists."""
    model: ModelConfig | AlignmentConfig
    """Which towers are joined, and by what."""
    stages: tuple[Stage, ...]
    """Stretches of training, in order."""
    start: Path | None = None
    """Folder of a trained model, whose weights the first model begins with: all of them, or those
    that the first stage's hand_over names. None begins with the towers and fresh weights."""
    seed: int = 0
    """Source of the initial weights, the order of samples and every other chance."""
    save: Literal["whole", "trained"] = "whole"
    """What the finished folder holds: all weights, low-rank updates merged, so that every tool
    loads it; or the trained ones alone, which `isthmus.load` joins to the towers again."""

    def __post_init__(self) -> None:
        """Checks that a part has one kind of low-rank updates, and that four bits stay as they are.

        Raises:
            ValueError: two stages give a part different ones, or rounded weights would be trained
                or saved.
        """
        self._check_models()
        self._check_continued()
        thawed = {part.name for stage in self.stages for part in stage.train if not part.lora}
        four_bit = isinstance(self.model, ModelConfig) and self.model.four_bit
        if four_bit and ("language_model" in thawed or self.save == "whole"):
            raise ValueError(
                "weights of four bits are neither trained nor saved; train the language model "
                "with lora or not at all, and set save to 'trained'"
            )
        found: dict[str, Lora] = {}
        for part in (part for stage in self.stages for part in stage.train if part.lora):
            assert part.lora is not None
            if found.setdefault(part.name, part.lora) != part.lora:
                raise ValueError(
                    f"the part {part.name!r} has {found[part.name]} in one stage and {part.lora} "
                    "in another; its updates go on from stage to stage, so give both the same"
                )

    @property
    def models(self) -> tuple[ModelConfig | AlignmentConfig, ...]:
        """The model of each stage."""
        return tuple(stage.model or self.model for stage in self.stages)

    def since(self, number: int) -> tuple[Stage, ...]:
        """Returns the stages that trained the model of a stage, up to and with that one."""
        models = self.models
        first = number
        while first > 0 and models[first - 1] == models[number]:
            first -= 1
        return self.stages[first : number + 1]

    def steps_around(self, number: int) -> tuple[int, int]:
        """Returns the steps of a stage's schedule that lie in stages before it, and behind it."""
        first, last = number, number + 1
        while self.stages[first].continues:
            first -= 1
        while last < len(self.stages) and self.stages[last].continues:
            last += 1
        steps = [stage.schedule.steps or 0 for stage in self.stages]
        return sum(steps[first:number]), sum(steps[number + 1 : last])

    def _check_models(self) -> None:
        models = self.models
        if self.start is None and self.stages and self.stages[0].hand_over:
            raise ValueError(
                f"stage {self.stages[0].name!r} is the first, and its hand_over says what it takes "
                "over from another model; name that model's folder as start"
            )
        if self.stages and models[-1] != self.model:
            raise ValueError(
                f"the last stage, {self.stages[-1].name!r}, trains another model than the "
                "recipe's, which would come out untrained; leave its model out"
            )
        for number, stage in enumerate(self.stages[1:], start=1):
            changes = models[number] != models[number - 1]
            if changes != (stage.hand_over is not None):
                before = "the same model as" if not changes else "another model than"
                raise ValueError(
                    f"stage {stage.name!r} trains {before} the stage before it, and has "
                    f"{'no ' if changes else 'a '}hand_over; it says which weights go from one "
                    "model to the next"
                )

    def _check_continued(self) -> None:
        for number, stage in enumerate(self.stages):
            if not stage.continues:
                continue
            if number == 0:
                raise ValueError(
                    f"stage {stage.name!r} is the first, so there is none that it continues; set "
                    "continues to False"
                )
            before = self.stages[number - 1]
            if stage.schedule.steps is None or before.schedule.steps is None:
                raise ValueError(
                    f"stage {stage.name!r} continues the one before; give the length of both as "
                    "schedule.steps, by which the learning rate is told"
                )
            if stage.hand_over and any(part.lora for part in stage.train):
                raise ValueError(
                    f"stage {stage.name!r} continues with another model, in whose weights the "
                    "low-rank updates of the one before are merged; set continues to False"
                )
            if before.finish == "best":
                raise ValueError(
                    f"stage {stage.name!r} continues {before.name!r}, which ends with its best "
                    "weights; let it end with the last"
                )
            schedule = replace(
                stage.schedule,
                steps=before.schedule.steps,
                accumulation=before.schedule.accumulation,
            )
            alike = {
                **{name: getattr(stage, name) for name in ("train", "objectives", "ema")},
                "schedule": schedule,
            }
            for name, value in alike.items():
                if getattr(before, name) != value:
                    raise ValueError(
                        f"stage {stage.name!r} continues {before.name!r}, but its {name} is "
                        f"another; give both the same (schedules may differ in steps and "
                        "accumulation), or set continues to False"
                    )

    def with_data(self, data: Data, *, validation: Data | None = None) -> "Recipe":
        """Returns the recipe with the data of every stage replaced, validation included."""
        stages = tuple(replace(s, data=data, validation=validation) for s in self.stages)
        return replace(self, stages=stages)

    def blind(self) -> "Recipe":
        """Returns the twin of the recipe that never sees an image.

        Stages that hold images and texts together are left out: they have nothing to learn.

        Raises:
            ValueError: there are no others.
        """
        if not isinstance(self.model, ModelConfig):
            raise ValueError(
                f"the recipe {self.name!r} holds images and texts together; without images there "
                "is nothing to learn"
            )
        pairs = zip(self.stages, self.models, strict=True)
        kept = [stage for stage, model in pairs if isinstance(model, ModelConfig)]
        # A model of the same kind has read words before, and goes on with what it knows of them.
        start = self.start if kept[0] is self.stages[0] and not kept[0].hand_over else None
        first = replace(kept[0], hand_over=None, continues=False)
        stages = tuple(replace(stage, blind=True) for stage in (first, *kept[1:]))
        return replace(self, name=f"{self.name}.blind", stages=stages, start=start)
