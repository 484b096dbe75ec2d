"""Recipes of the embedded world: everything they need comes with the package.

The towers were trained by `isthmus microworld build`. The vision tower stays frozen, so what it
sees of a picture is kept in the feature store and read as often as needed.
"""

from dataclasses import replace

from isthmus.connectors import linear
from isthmus.training.stage import (
    MicroworldData,
    ModelConfig,
    Part,
    Recipe,
    Schedule,
    Stage,
)


def quickstart() -> Recipe:
    """Two small towers and a linear layer between them: minutes on two CPU cores.

    The language model learns along with the connector: it has never seen a picture, and its blind
    twin must have something to learn from the words alone.

    Paper: the one-stage form of Prismatic VLMs, arXiv 2402.07865, section 4.1: vision tower frozen,
        connector and language model trained together from the start.
    Expected: vqa_accuracy at least 0.80 on test and 0.70 on compositional scenes; the measured
        values are in the README.
    Hardware: 2 CPU cores that compute in bfloat16, 3 GB of memory; 4 minutes with its blind twin
        and the evaluation.
    Command: `isthmus quickstart --output runs/quickstart`
    """
    return Recipe(
        name="microworld.quickstart",
        description="Two small towers and a linear layer between them: minutes on two CPU cores.",
        model=ModelConfig(
            vision="microworld:siglip",
            language="microworld:lm_chat",
            connector=linear.Linear.Config(),
            # The last layer: the tower was trained to say in each patch what lies there.
            vision_layer=-1,
            attention="eager",  # the fastest at this size on a CPU
        ),
        stages=(
            Stage(
                name="joint",
                train=(Part(name="connector", lr=3e-3), Part(name="language_model", lr=1e-3)),
                data=MicroworldData(split="train", num=3000, turns=12),
                validation=MicroworldData(split="val", num=128),
                validate_every=0.25,
                schedule=Schedule(epochs=1, batch_size=8),
                feature_store=True,
                dtype="bfloat16",
                num_workers=0,  # there is no core to spare for them
            ),
        ),
    )


def full() -> Recipe:
    """The quick start with more scenes and time: half an hour on two CPU cores.

    Paper: as `quickstart`.
    Expected: vqa_accuracy at least 0.90 on test and 0.80 on compositional scenes.
    Hardware: 2 CPU cores that compute in bfloat16, 3 GB of memory; 30 minutes.
    Command: `isthmus train microworld.full --output runs/full`
    """
    start = quickstart()
    stage = start.stages[0]
    return replace(
        start,
        name="microworld.full",
        description="The quick start with more scenes and time: half an hour on two CPU cores.",
        stages=(replace(stage, data=MicroworldData(split="train", num=40_000, turns=12)),),
    )
