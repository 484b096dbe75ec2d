"""A recipe over tiny towers that trains in a second."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from isthmus.connectors.linear import Linear
from isthmus.training.data import FileData
from isthmus.training.models import ModelConfig
from isthmus.training.stage import Part, Recipe, Schedule, Stage
from tests.tiny import save_language, save_vision
from tests.tiny_data import write_data

TRAIN = (Part(name="connector", lr=1e-2), Part(name="language_model", lr=1e-3))


def tiny_recipe(
    folder: Path, *, language: str = "llama", dropout: float = 0.1, **changes: Any
) -> Recipe:
    """One stage over 22 samples; `changes` are of the stage, those of its schedule included."""
    dropped = {"t5": "dropout_rate"}.get(language, "attention_dropout")
    train = write_data(folder / "data", 22)
    held_out = write_data(folder / "data", 5, first=30, name="validation.jsonl")
    schedule = Schedule(batch_size=4, epochs=2)
    of_schedule = {name: changes.pop(name) for name in list(changes) if hasattr(schedule, name)}
    stage = Stage(
        name="align",
        train=TRAIN,
        data=FileData(file=train, image_root=train.parent),
        validation=FileData(file=held_out, image_root=train.parent),
        schedule=replace(schedule, **of_schedule),
        validate_every=0.5,
    )
    model = ModelConfig(
        vision=save_vision(folder / "vision"),
        # With dropout, a resume that forgets the random states is seen.
        language=save_language(folder / f"{language}-{dropout}", language, **{dropped: dropout}),
        connector=Linear.Config(),
    )
    return Recipe(
        name="tests.tiny", description="tiny", model=model, stages=(replace(stage, **changes),)
    )
