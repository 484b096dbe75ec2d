"""The quick start: two small towers, and what joins them in minutes."""

from dataclasses import replace

from isthmus.connectors import linear
from isthmus.objectives.language_modeling import LanguageModeling
from isthmus.recipes.microworld._shared import joined, questions
from isthmus.training.data import MicroworldData
from isthmus.training.stage import Part, Recipe, Schedule, Stage


def quickstart() -> Recipe:
    """Two small towers and a linear layer between them: minutes on two CPU cores.

    The language model learns along with the connector: it has never seen a picture, and its blind
    twin must have something to learn from the words alone. Smoothed labels keep it from learning
    that a pair which never occurs cannot occur.

    Paper: the one-stage form of Prismatic VLMs, arXiv 2402.07865, section 4.1: vision tower frozen,
        connector and language model trained together from the start.
    Expected: vqa_accuracy at least 0.80 on test and 0.70 on compositional scenes; the measured
        values are in the README.
    Hardware: 2 CPU cores that compute in bfloat16, 2 GB of memory; 3 to 4 minutes with its blind
        twin and the evaluation. On others the command takes float32.
    Command: `isthmus quickstart --output runs/quickstart`
    """
    return Recipe(
        name="microworld.quickstart",
        description="Two small towers and a linear layer between them: minutes on two CPU cores.",
        model=joined(linear.Linear.Config()),
        stages=(
            Stage(
                name="joint",
                train=(Part(name="connector", lr=3e-3), Part(name="language_model", lr=1e-3)),
                objectives=(LanguageModeling.Config(label_smoothing=0.1),),
                data=questions(3600),
                validation=MicroworldData(split="val", num=128),
                validate_every=0.25,
                schedule=Schedule(epochs=1, batch_size=8),
                feature_store=True,
                log_every=10,
                dtype="bfloat16",
                num_workers=0,  # there is no core to spare for them
            ),
        ),
    )


def full() -> Recipe:
    """The quick start with more scenes and time: half an hour on two CPU cores.

    Paper: as `quickstart`.
    Expected: vqa_accuracy at least 0.90 on test and 0.80 on compositional scenes.
    Hardware: 2 CPU cores that compute in bfloat16, 3.5 GB of memory; 20 to 30 minutes.
    Command: `isthmus train microworld.full --output runs/full`
    """
    start = quickstart()
    stage = start.stages[0]
    return replace(
        start,
        name="microworld.full",
        description="The quick start with more scenes and time: half an hour on two CPU cores.",
        stages=(replace(stage, data=questions(45_000)),),
    )
