"""What recipes of the microworld share: towers, questions, and the two stages of most papers."""

from dataclasses import replace
from typing import Any

from isthmus.connectors.base import ConnectorConfig
from isthmus.connectors.mlp import MLP
from isthmus.evaluation.benchmarks.microworld import CLIP_TASKS, STYLED_TASKS
from isthmus.training.data import MicroworldData
from isthmus.training.models import ModelConfig
from isthmus.training.stage import Part, Schedule, Stage

SIGLIP, CHAT = "microworld:siglip", "microworld:lm_chat"
HEADS, D_HEAD = 4, 32
"""Together as wide as a patch."""
NUM_TOKENS = 16
"""Visual tokens of connectors that choose their number: a quarter of the patches."""
LINEAR_LR, ALONE_LR, LAYERED_LR = 3e-3, 1e-3, 3e-4
"""Of one linear layer; of any other connector before a frozen language model, and of a perceptron;
of connectors of more layers beside a language model that learns, which has to follow."""
LANGUAGE = Part(name="language_model", lr=1e-3)
PERCEPTRON = MLP.Config()

TASKS = (
    *("colour", "shape", "count", "existence", "relation", "comparison", "position"),
    *("multiple_choice", "reading", "board", "caption", "referring", "grounded_vqa"),
    *("scene_qa", "arithmetic", "copying", "sorting"),
)
"""All but the two whose answers are long: they would take a third of the time and the memory."""
GROUNDING = ("referring", "region", "grounded_vqa", "grounded_caption")
"""Tasks of CogVLM-Grounding: the box of a phrase, the phrase of a box, answers and captions."""
CLIPS = (*CLIP_TASKS, "clip_caption")
"""What is asked of clips."""


def questions(num: int) -> MicroworldData:
    """Returns ten questions on each of so many scenes.

    A picture costs 64 tokens, however much is asked about it.
    """
    return MicroworldData(split="train", num=num, turns=10, tasks=TASKS)


def joined(connector: ConnectorConfig, **changes: Any) -> ModelConfig:
    """Returns a model of the small SigLIP and the small chat model.

    Args:
        connector: between them.
        **changes: other fields of the model.
    """
    # The last layer: the tower was trained to say in each patch what lies there.
    plain = ModelConfig(
        vision=SIGLIP,
        language=CHAT,
        connector=connector,
        vision_layer=-1,
        attention="eager",  # the fastest at this size on a CPU
    )
    return replace(plain, **changes)


def connector(lr: float) -> Part:
    """Returns the connector at a learning rate."""
    return Part(name="connector", lr=lr)


def captions(lr: float, *, num: int = 2400) -> Stage:
    """Returns the first stage of the papers that have one: the connector learns from captions.

    Args:
        lr: of the connector.
        num: captions, each of another scene.
    """
    return Stage(
        name="captions",
        train=(connector(lr),),
        data=MicroworldData(split="train", num=num, turns=1, tasks=("caption",)),
        schedule=Schedule(epochs=1, batch_size=4),
        feature_store=True,
        log_every=10,
        num_workers=0,
    )


def instructions(*parts: Part, num: int = 1600) -> Stage:
    """Returns the stage in which questions are learned to be answered, the same for all papers.

    Args:
        *parts: what learns.
        num: scenes.
    """
    return Stage(
        name="instructions",
        train=parts,
        data=questions(num),
        validation=MicroworldData(split="val", num=128, tasks=TASKS),
        validate_every=0.125,
        schedule=Schedule(epochs=1, batch_size=4),
        feature_store=all(part.name != "vision_tower" for part in parts),
        log_every=10,
        num_workers=0,
    )


def grounding(*parts: Part) -> tuple[Stage, Stage]:
    """Returns the stages in which boxes are learned: captions that have them, then all four tasks.

    Args:
        *parts: what learns.
    """
    told = alone(parts, "boxes", 3000, "grounded_caption")
    return told, alone(parts, "grounding", 1600, *GROUNDING)


def styles(*parts: Part) -> Stage:
    """Returns the stage in which questions are answered in a word, or in a sentence.

    Args:
        *parts: what learns.
    """
    return alone(parts, "styles", 3000, *STYLED_TASKS)


def clips(*parts: Part) -> tuple[Stage, Stage]:
    """Returns the stages in which clips are learned: all that happens, then single things.

    Args:
        *parts: what learns.
    """
    told = alone(parts, "happenings", 3000, "clip_caption")
    return told, alone(parts, "clips", 1600, *CLIPS)


def alone(parts: tuple[Part, ...], name: str, num: int, *tasks: str) -> Stage:
    """Returns a stage whose answers each stand alone.

    In a conversation the boxes, or ways, of one turn can be read off an earlier one, and looking is
    not learned.

    Args:
        parts: what learns.
        name: of the stage.
        num: questions, each of another scene.
        *tasks: what is asked.
    """
    return replace(
        instructions(*parts),
        name=name,
        data=MicroworldData(split="train", num=num, turns=1, tasks=tasks),
        validation=MicroworldData(split="val", num=128, tasks=tasks),
    )
