"""The two stages of LLaVA, which its descendants keep: captions, then instructions."""

from isthmus.training.data import FileData
from isthmus.training.stage import Part, Schedule, Stage

NUM_CAPTIONS, NUM_INSTRUCTIONS = 558_128, 665_298
"""Samples of LLaVA-1.5's published files."""


def captions(data: FileData, *, lr: float, batch_size: int) -> Stage:
    """Returns the first stage: one pass over captions, from which the connector alone learns.

    Args:
        data: pictures and captions.
        lr: peak learning rate of the connector.
        batch_size: samples per step.
    """
    return Stage(
        name="captions",
        train=(Part(name="connector", lr=lr),),
        data=data,
        schedule=Schedule(epochs=1, batch_size=batch_size),
        dtype="bfloat16",
        gradient_checkpointing=True,
    )


def instructions(data: FileData, *, schedule: Schedule, thawed: bool = False) -> Stage:
    """Returns the stage in which the language model learns along with the connector.

    Args:
        data: conversations about pictures, and some without.
        schedule: length, batch and weight decay.
        thawed: whether the vision tower learns, too.
    """
    lr = 2e-5
    tower = (Part(name="vision_tower", lr=lr),) if thawed else ()
    return Stage(
        name="instructions",
        train=(Part(name="connector", lr=lr), Part(name="language_model", lr=lr), *tower),
        data=data,
        schedule=schedule,
        dtype="bfloat16",
        gradient_checkpointing=True,
    )
