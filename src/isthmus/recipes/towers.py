"""Recipes to start from with towers of your own: name them, and your data, on the command line."""

from isthmus.connectors import mlp
from isthmus.training.stage import (
    MicroworldData,
    ModelConfig,
    Part,
    Recipe,
    Schedule,
    Stage,
)


def connector() -> Recipe:
    """Two frozen towers of your own, and an MLP that learns between them.

    Paper: the first stage of LLaVA-1.5, arXiv 2310.03744, section A: connector alone, 1e-3, one
        epoch. Differs: batches of 32 instead of 256, for data of any size.
    Expected: what the frozen language model can say of what it is shown; for answers in the form
        of your data, train the language model as well.
    Hardware: what the language model's backward pass needs; the vision tower runs once.
    Command: `isthmus train towers.connector --model.vision NAME --model.language NAME --data FILE
        --image-root DIR --output DIR`
    """
    return Recipe(
        name="towers.connector",
        description="Two frozen towers of your own, and an MLP that learns between them.",
        model=ModelConfig(
            vision="microworld:siglip",
            language="microworld:lm_chat",
            connector=mlp.MLP.Config(depth=2),
        ),
        stages=(
            Stage(
                name="connector",
                train=(Part(name="connector", lr=1e-3),),
                data=MicroworldData(split="train", num=12_000),
                schedule=Schedule(epochs=1, batch_size=32),
                feature_store=True,
            ),
        ),
    )
