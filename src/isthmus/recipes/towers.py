"""Recipes to start from with towers of your own: name them, and your data, on the command line."""

from dataclasses import replace

from isthmus.connectors import mlp
from isthmus.modeling.lora import Lora
from isthmus.training.data import MicroworldData
from isthmus.training.models import ModelConfig
from isthmus.training.stage import Part, Recipe, Schedule, Stage


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


def lora() -> Recipe:
    """Two towers of your own: an MLP learns between them, then low-rank updates along with it.

    Paper: the two stages of LLaVA-1.5, arXiv 2310.03744, with the rank, scale and learning rates of
        its LoRA form (rank 128, alpha 256, 2e-4, connector 2e-5). Differs: batches of 32 and 16
        instead of 256 and 128.
    Expected: answers in the form of your data, from a language model that keeps what it knew.
    Hardware: as `towers.connector`, and the optimizer of the updates: 12 bytes for each number.
    Command: `isthmus train towers.lora --model.vision NAME --model.language NAME --data FILE
        --image-root DIR --output DIR`
    """
    start = connector()
    aligned = start.stages[0]
    updates = Lora(rank=128, alpha=256, dropout=0.05)
    tuned = replace(
        aligned,
        name="tuned",
        train=(
            Part(name="connector", lr=2e-5),
            Part(name="language_model", lr=2e-4, lora=updates),
        ),
        schedule=Schedule(epochs=1, batch_size=16),
    )
    return replace(
        start,
        name="towers.lora",
        description=(
            "Two towers of your own: an MLP learns between them, then low-rank updates along with "
            "it."
        ),
        stages=(aligned, tuned),
    )
