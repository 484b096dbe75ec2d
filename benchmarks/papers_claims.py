"""Which twins stand for the papers, and what the papers say of their parts: pairs of twins."""

from dataclasses import dataclass
from typing import Literal, final

from isthmus import recipes
from isthmus.evaluation.benchmarks.microworld import CLIP_TASKS, TEXT_TASKS
from isthmus.training.stage import Recipe

MAIN = (
    *("blip2_instructions", "honeybee_c_abstractor", "honeybee_d_abstractor"),
    *("honeybee_resampler", "llava", "llava_1_5", "flamingo", "frozen_linear"),
    *("prismatic", "prismatic_fused", "cogvlm", "cogvlm_language_model"),
    *("vadapter", "vadapter_perceiver"),
)
"""Twins of the five systems and of what they compare with, as they are called in `microworld.`."""
BLIND, FIRST = "blind", "blip2_alignment"
"""The one that sees nothing; the first stage that BLIP-2's twins go on from."""
GROUPS: dict[str, tuple[str, ...]] = {
    "recognition": ("colour", "shape", "existence", "comparison", "multiple_choice"),
    "spatial": ("relation", "position", "board"),
    "reading": ("reading",),
    "counting": ("count",),
    "grounding": ("referring", "grounded_vqa"),
    "captions": ("caption",),
    "text": TEXT_TASKS,
}
"""Tasks of each column, beside that of clips."""
SEEING = tuple(task for name, tasks in GROUPS.items() if name != "text" for task in tasks)
VIDEO = CLIP_TASKS


@final
@dataclass(frozen=True, kw_only=True)
class Claim:
    """What a paper says of two models."""

    text: str
    source: str
    better: str
    """Twin that is said to be better."""
    worse: str
    tasks: tuple[str, ...] = SEEING
    """By which they are held against each other."""
    says: Literal["better", "no better"] = "better"
    """`no better`: the first has more of what the paper found to bring nothing."""


CLAIMS = (
    Claim(
        text="C-Abstractor tells more of where things are than a resampler",
        source="Honeybee, tables 2 and 9",
        better="honeybee_c_abstractor",
        worse="honeybee_resampler",
        tasks=GROUPS["spatial"],
    ),
    Claim(
        text="D-Abstractor tells more of where things are than a resampler",
        source="Honeybee, tables 2 and 9",
        better="honeybee_d_abstractor",
        worse="honeybee_resampler",
        tasks=GROUPS["spatial"],
    ),
    Claim(
        text="64 visual tokens tell more than 4",
        source="Honeybee, table 8",
        better="honeybee_c_abstractor_m64",
        worse="honeybee_c_abstractor_m4",
    ),
    Claim(
        text="a first stage of captions adds nothing",
        source="Prismatic, 4.1",
        better="llava_1_5",
        worse="prismatic",
        says="no better",
    ),
    Claim(
        text="a tower that learns does harm",
        source="Prismatic, 4.1",
        better="prismatic",
        worse="prismatic_thawed",
    ),
    Claim(
        text="a tower that learned with words is better than DINOv2",
        source="Prismatic, 4.2",
        better="prismatic",
        worse="prismatic_dinov2",
    ),
    Claim(
        text="a tower that learned with words is better than a classifier",
        source="Prismatic, 4.2",
        better="prismatic",
        worse="prismatic_vit",
    ),
    Claim(
        text="two towers name boxes better than one",
        source="Prismatic, 4.2",
        better="prismatic_fused",
        worse="prismatic",
        tasks=GROUPS["grounding"],
    ),
    Claim(
        text="a chat model is no better than a base model",
        source="Prismatic, 4.3",
        better="prismatic",
        worse="prismatic_base",
        says="no better",
    ),
    Claim(
        text="a second epoch helps",
        source="Prismatic, 4.4",
        better="prismatic_two_epochs",
        worse="prismatic",
    ),
    Claim(
        text="more data helps",
        source="Prismatic, 4.4",
        better="prismatic_more_data",
        worse="prismatic",
    ),
    Claim(
        text="experts are better than a connector alone",
        source="CogVLM, table 6",
        better="cogvlm",
        worse="cogvlm_adapter",
    ),
    Claim(
        text="a language model that learns forgets text",
        source="CogVLM, appendix",
        better="cogvlm",
        worse="cogvlm_language_model",
        tasks=GROUPS["text"],
    ),
    Claim(
        text="a full mask over the image is no better",
        source="CogVLM, table 6",
        better="cogvlm_full_mask",
        worse="cogvlm",
        says="no better",
    ),
    Claim(
        text="experts that begin as the language model's are better",
        source="CogVLM, table 6",
        better="cogvlm",
        worse="cogvlm_random",
    ),
    Claim(
        text="an average of the weights is better than the last ones",
        source="CogVLM, table 6",
        better="cogvlm_ema",
        worse="cogvlm",
    ),
    Claim(
        text="the first stage of the small model helps",
        source="VAdapter, table 3",
        better="vadapter",
        worse="vadapter_no_first_stage",
    ),
    Claim(
        text="a small model that was a language model is better than a fresh one",
        source="VAdapter, table 3",
        better="vadapter_no_first_stage",
        worse="vadapter_random",
    ),
    Claim(
        text="the adapter is better than a perceiver of six layers",
        source="VAdapter, table 2",
        better="vadapter",
        worse="vadapter_perceiver",
    ),
    Claim(
        text="a larger vision tower helps",
        source="VAdapter, tables 2 and 5 to 8",
        better="vadapter_large_tower",
        worse="vadapter",
    ),
    Claim(
        text="a larger language model helps",
        source="VAdapter, table 7",
        better="vadapter_large",
        worse="vadapter",
    ),
)


def known() -> list[str]:
    """Returns the twins of the systems, and those of single parts that some claim is about."""
    pairs = ((claim.better, claim.worse) for claim in CLAIMS)
    return list(dict.fromkeys([*MAIN, *(name for pair in pairs for name in pair)]))


def twin(name: str) -> Recipe:
    """Returns a twin by its name in `microworld.`, or the blind one."""
    return twin("prismatic").blind() if name == BLIND else recipes.resolve(f"microworld.{name}")
