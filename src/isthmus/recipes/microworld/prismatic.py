"""Prismatic VLMs in small: one stage, and rows that change one thing of it.

Pictures of the microworld are squares: ways to resize are compared by `benchmarks/resize.py`.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from isthmus.connectors.base import ConnectorConfig
from isthmus.connectors.mlp import MLP
from isthmus.evaluation.benchmarks.microworld import TEXT_TASKS
from isthmus.recipes._named import named
from isthmus.recipes.microworld._shared import (
    ALONE_LR,
    LANGUAGE,
    PERCEPTRON,
    SIGLIP,
    TASKS,
    captions,
    connector,
    grounding,
    instructions,
    joined,
)
from isthmus.training.data import MicroworldData
from isthmus.training.stage import Part, Recipe, Stage

_DINOV2 = "microworld:dinov2"
_ANSWERS = instructions(connector(ALONE_LR), LANGUAGE)


def prismatic() -> Recipe:
    """Prismatic in small: connector and language model learn together, in one stage.

    Paper: arXiv 2402.07865, section 4.1.
    Differs: the rates are those of a small model.
    Expected: score 0.68 of what needs eyes, 0.21 without pictures; mean of 3 seeds.
    Hardware: 2 CPU cores, 2 GB of memory; 3 to 4 minutes.
    Command: `isthmus train microworld.prismatic --output DIR`
    """
    return _row(prismatic, _ANSWERS)


def llava_1_5() -> Recipe:
    """LLaVA-1.5 in small: the connector learns from captions before.

    Paper: arXiv 2310.03744; Prismatic VLMs, arXiv 2402.07865, section 4.1: it adds nothing.
    Expected: score 0.76 of what needs eyes, 0.21 without pictures; mean of 3 seeds.
    Hardware: as `prismatic`.
    Command: `isthmus train microworld.llava_1_5 --output DIR`
    """
    return _row(llava_1_5, captions(ALONE_LR), _ANSWERS)


def llava_1_5_grounding() -> Recipe:
    """LLaVA-1.5 in small with the boxes of `cogvlm_grounding`, after `llava_1_5`.

    Paper: none of its own; CogVLM, arXiv 2311.03079, section 3.2, for the tasks. Here the language
        model learns, and each patch has a position of its own.
    Expected: 0.25 of boxes at IoU 0.5, 0.03 without pictures; 0.76 of phrases of boxes; mean of 3
        seeds.
    Hardware: as `prismatic`.
    Command: `isthmus train microworld.llava_1_5_grounding --start runs/llava_1_5 --output DIR`
    """
    stages = grounding(connector(ALONE_LR), LANGUAGE)
    start = Path("runs/llava_1_5")
    return named(llava_1_5_grounding, *stages, model=joined(PERCEPTRON), start=start)


def prismatic_thawed() -> Recipe:
    """Prismatic in small, whose vision tower learns, too.

    Paper: arXiv 2402.07865, section 4.1: worse, above all at naming boxes.
    Expected: score 0.66 of what needs eyes, 0.21 without pictures; mean of 3 seeds.
    Hardware: as `prismatic`; the tower runs in each step.
    Command: `isthmus train microworld.prismatic_thawed --output DIR`
    """
    tower = Part(name="vision_tower", lr=LANGUAGE.lr / 10)
    return _row(prismatic_thawed, instructions(connector(ALONE_LR), LANGUAGE, tower))


def prismatic_dinov2() -> Recipe:
    """Prismatic in small, with a tower that learned from pictures alone.

    Paper: arXiv 2402.07865, section 4.2: worse than one that learned with words.
    Expected: score 0.21 of what needs eyes, 0.21 without pictures; mean of 3 seeds.
    Hardware: as `prismatic`.
    Command: `isthmus train microworld.prismatic_dinov2 --output DIR`
    """
    return _row(prismatic_dinov2, _ANSWERS, vision=_DINOV2)


def prismatic_vit() -> Recipe:
    """Prismatic in small, with a tower that learned to name classes.

    Paper: arXiv 2402.07865, section 4.2: worse than one that learned with words.
    Expected: score 0.36 of what needs eyes, 0.21 without pictures; mean of 3 seeds.
    Hardware: as `prismatic`.
    Command: `isthmus train microworld.prismatic_vit --output DIR`
    """
    return _row(prismatic_vit, _ANSWERS, vision="microworld:vit")


def prismatic_fused() -> Recipe:
    """Prismatic in small, with DINOv2 and SigLIP side by side.

    Paper: arXiv 2402.07865, section 4.2: better, above all at naming boxes.
    Expected: score 0.43 of what needs eyes, 0.21 without pictures; mean of 3 seeds.
    Hardware: as `prismatic`.
    Command: `isthmus train microworld.prismatic_fused --output DIR`
    """
    return _row(prismatic_fused, _ANSWERS, **_FUSED)


def prismatic_base() -> Recipe:
    """Prismatic in small, on a language model that was never taught to chat.

    Paper: arXiv 2402.07865, section 4.3: no worse.
    Differs: turns are lines, as this model has read them, where the paper marks them In and Out.
    Expected: score 0.66 of what needs eyes, 0.21 without pictures; mean of 3 seeds.
    Hardware: as `prismatic`.
    Command: `isthmus train microworld.prismatic_base --output DIR`
    """
    return _row(prismatic_base, _ANSWERS, **_BASE)


def prismatic_no_text() -> Recipe:
    """Prismatic in small, without the questions that have no picture.

    Paper: arXiv 2402.07865, section 4.3: no worse on the whole, but for VizWiz.
    Differs: questions with pictures take their place, so that there are as many.
    Expected: score 0.69 of what needs eyes, 0.21 without pictures; mean of 3 seeds.
    Hardware: as `prismatic`.
    Command: `isthmus train microworld.prismatic_no_text --output DIR`
    """
    assert isinstance(_ANSWERS.data, MicroworldData)
    shown = tuple(task for task in TASKS if task not in TEXT_TASKS)
    return _row(prismatic_no_text, replace(_ANSWERS, data=replace(_ANSWERS.data, tasks=shown)))


def prismatic_two_epochs() -> Recipe:
    """Prismatic in small, twice over the same questions.

    Paper: arXiv 2402.07865, section 4.4: better.
    Expected: score 0.76 of what needs eyes, 0.21 without pictures; mean of 3 seeds.
    Hardware: as `prismatic`, twice the time.
    Command: `isthmus train microworld.prismatic_two_epochs --output DIR`
    """
    twice = replace(_ANSWERS.schedule, epochs=2)
    return _row(prismatic_two_epochs, replace(_ANSWERS, schedule=twice))


def prismatic_more_data() -> Recipe:
    """Prismatic in small, once over twice as many questions.

    Paper: arXiv 2402.07865, section 4.4: better.
    Expected: score 0.76 of what needs eyes, 0.21 without pictures; mean of 3 seeds.
    Hardware: as `prismatic`, twice the time.
    Command: `isthmus train microworld.prismatic_more_data --output DIR`
    """
    return _row(prismatic_more_data, instructions(connector(ALONE_LR), LANGUAGE, num=3200))


def prism() -> Recipe:
    """Prism in small: what the study found, together, twice over twice as many questions.

    Paper: arXiv 2402.07865, section 5: better than LLaVA-1.5.
    Differs: as `prismatic_base`.
    Expected: score 0.76 of what needs eyes, 0.21 without pictures; mean of 3 seeds.
    Hardware: as `prismatic`, four times as long.
    Command: `isthmus train microworld.prism --output DIR`
    """
    more = instructions(connector(ALONE_LR), LANGUAGE, num=3200)
    stage = replace(more, schedule=replace(more.schedule, epochs=2))
    return _row(prism, stage, **_FUSED, **_BASE)


_FUSED: dict[str, Any] = {
    "vision": _DINOV2,
    "beside": (SIGLIP,),
    "between": MLP.Config(depth=3, patch_multiplier=4),
}
_BASE: dict[str, Any] = {"language": "microworld:lm_base", "chat_template": "lines"}


def _row(
    function: Callable[[], Recipe],
    *stages: Stage,
    between: ConnectorConfig = PERCEPTRON,
    **model: Any,
) -> Recipe:
    return named(function, *stages, model=joined(between, **model))
