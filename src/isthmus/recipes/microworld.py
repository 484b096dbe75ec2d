"""Recipes of the embedded world: everything they need comes with the package.

The towers were trained by `isthmus microworld build` and stay frozen, so their outputs are kept in
the feature store and only the connector learns.
"""

from dataclasses import replace

from isthmus.connectors import mlp
from isthmus.training.stage import (
    MicroworldData,
    ModelConfig,
    Part,
    Recipe,
    Schedule,
    Stage,
)


def quickstart() -> Recipe:
    """Two small frozen towers and an MLP between them: minutes on two CPU cores.

    Paper: the frozen-towers form of LLaVA-1.5's MLP connector, arXiv 2310.03744, section 3.3.
    Expected: vqa_accuracy at least 0.80 on test and 0.70 on compositional scenes; the measured
        values are in the README.
    Hardware: 2 CPU cores, 3 GB of memory; 4 minutes with its blind twin and the evaluation.
    Command: `isthmus quickstart --output runs/quickstart`
    """
    return Recipe(
        name="microworld.quickstart",
        description="Two small frozen towers and an MLP between them: minutes on two CPU cores.",
        model=ModelConfig(
            vision="microworld:siglip",
            language="microworld:lm_chat",
            connector=mlp.MLP.Config(depth=2),
            vision_layer=-2,
        ),
        stages=(
            Stage(
                name="connector",
                train=(Part(name="connector", lr=2e-3),),
                data=MicroworldData(split="train", num=12_000),
                validation=MicroworldData(split="val", num=256),
                schedule=Schedule(epochs=2, batch_size=32),
                feature_store=True,
            ),
        ),
    )


def full() -> Recipe:
    """The quick start with more scenes and time: half an hour on two CPU cores.

    Paper: as `quickstart`.
    Expected: vqa_accuracy at least 0.90 on test and 0.80 on compositional scenes.
    Hardware: 2 CPU cores, 3 GB of memory; 30 minutes.
    Command: `isthmus train microworld.full --output runs/full`
    """
    start = quickstart()
    stage = start.stages[0]
    return replace(
        start,
        name="microworld.full",
        description="The quick start with more scenes and time: half an hour on two CPU cores.",
        stages=(
            replace(
                stage,
                data=MicroworldData(split="train", num=60_000),
                schedule=replace(stage.schedule, epochs=4),
            ),
        ),
    )
