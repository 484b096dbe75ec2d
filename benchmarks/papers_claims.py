"""Which twins stand for the papers, and what the papers say of their parts: pairs of twins."""

from dataclasses import dataclass, replace
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
OTHERS = (
    *("idefics", "anymal"),
    *("cogvlm_attention", "cogvlm_low_rank", "cogvlm_sequential"),
    *("vadapter_bidirectional", "vadapter_large_adapter"),
)
"""Further ones that PaLM2-VAdapter compares with, and those that go beyond the papers."""
BLIND, BLIND_CLIPS = "blind", "blind_clips"
"""Those that see nothing: one reads the questions that all learn from, one those of clips, too."""
FIRST = "blip2_alignment"
"""The first stage that BLIP-2's twins go on from."""
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
    by: Literal["answers", "perplexity", "steps"] = "answers"
    """Right answers to these tasks; nats for a token of held-out text; or steps of the last stage
    after which validation is 98 % of what the lesser twin ends with. Of the last two, fewer are
    better."""
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
        text="64 visual tokens of a resampler tell more than 16",
        source="Honeybee, table 8",
        better="honeybee_resampler_m64",
        worse="honeybee_resampler",
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
        text="questions without a picture bring nothing",
        source="Prismatic, 4.3",
        better="prismatic",
        worse="prismatic_no_text",
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
        text="all findings together are better than LLaVA-1.5",
        source="Prismatic, 5",
        better="prism",
        worse="llava_1_5",
    ),
    Claim(
        text="experts are better than a connector alone",
        source="CogVLM, table 6",
        better="cogvlm",
        worse="cogvlm_adapter",
    ),
    Claim(
        text="experts in every layer are better than in every fourth",
        source="CogVLM, table 6",
        better="cogvlm",
        worse="cogvlm_every_fourth",
    ),
    Claim(
        text="experts of both parts are better than of the feed-forward part alone",
        source="CogVLM, table 6",
        better="cogvlm",
        worse="cogvlm_feed_forward",
    ),
    Claim(
        text="a language model that learns forgets text: held-out documents",
        source="CogVLM, appendix",
        better="cogvlm",
        worse="cogvlm_language_model",
        by="perplexity",
    ),
    Claim(
        text="a language model that learns forgets text: tasks that are among what it learns",
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
        text="telling the next patch as well brings nothing",
        source="CogVLM, table 6",
        better="cogvlm_patch_prediction",
        worse="cogvlm",
        says="no better",
    ),
    Claim(
        text="a larger vision tower helps experts",
        source="CogVLM, table 6",
        better="cogvlm_large_tower",
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
        text="behind a resampler of one layer it is better than behind a pooler",
        source="VAdapter, table 4",
        better="vadapter",
        worse="vadapter_pooler",
    ),
    Claim(
        text="behind a resampler of one layer it is better than behind one of six",
        source="VAdapter, table 4",
        better="vadapter",
        worse="vadapter_six_layers",
    ),
    Claim(
        text="the adapter is better than a perceiver of six layers",
        source="VAdapter, table 2",
        better="vadapter",
        worse="vadapter_perceiver",
    ),
    Claim(
        text="the adapter is better than two layers",
        source="VAdapter, table 13",
        better="vadapter",
        worse="vadapter_mlp",
    ),
    Claim(
        text="the adapter is there in fewer steps than a perceiver of six layers",
        source="VAdapter, table 2",
        better="vadapter",
        worse="vadapter_perceiver",
        by="steps",
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
    """Returns all twins: blind ones, those of the systems, and those that a claim is about."""
    paired = [name for claim in CLAIMS for name in (claim.better, claim.worse)]
    return list(dict.fromkeys([BLIND, BLIND_CLIPS, *MAIN, *OTHERS, *paired]))


def twin(name: str) -> Recipe:
    """Returns a twin by its name in `microworld.`, or one that sees nothing."""
    if name == BLIND:
        return twin("prismatic").blind()
    if name == BLIND_CLIPS:
        seeing = twin("vadapter")
        return replace(seeing, stages=seeing.stages[-1:]).blind()
    return recipes.resolve(f"microworld.{name}")
