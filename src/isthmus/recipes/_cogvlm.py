"""What the recipes of CogVLM share: its model, its stages, and the change of resolution."""

from dataclasses import replace
from pathlib import Path

from isthmus.connectors.glu import GLU
from isthmus.fusion.visual_expert import VisualExpert
from isthmus.training.data import MixtureData
from isthmus.training.models import HandOver, ModelConfig
from isthmus.training.stage import Part, PartName, Schedule, Stage

EVA2_CLIP_E = "THUDM/cogvlm-base-224-hf"
"""Holds EVA2-CLIP-E at 224 pixels without its last block, 63 of 64."""
VICUNA_7B = "lmsys/vicuna-7b-v1.5"

AT_224 = ModelConfig(
    vision=EVA2_CLIP_E,
    language=VICUNA_7B,
    connector=GLU.Config(),
    fusion=VisualExpert.Config(),
    vision_layer=-1,
    chat_template="cogvlm_base",
)
AT_490 = replace(AT_224, image_size=490)

LARGER = HandOver(
    keys=tuple(
        (name, name)
        for name in ("model.connector.**", "model.language_model.layers.*.visual_expert.**")
    ),
    left=(
        *("model.vision_tower.**", "lm_head.**"),
        *(f"model.language_model.{name}.**" for name in ("embed_tokens", "norm")),
        *(f"model.language_model.layers.*.{name}.**" for name in ("self_attn", "mlp")),
        "model.language_model.layers.*.*.weight",
    ),
)
"""From one resolution to the next: what was learned. Tower and language model are as they were."""


def schedule(*, steps: int, batch_size: int, warmup_share: float) -> Schedule:
    """Returns a schedule whose learning rate falls to 0 along a cosine, as in all stages."""
    return Schedule(
        steps=steps,
        batch_size=batch_size,
        warmup_share=warmup_share,
        weight_decay=0.05,
        betas=(0.9, 0.95),
        clip=0.1,
    )


def learned(lr: float, *names: PartName) -> tuple[Part, ...]:
    """Returns parts that learn at one rate."""
    return tuple(Part(name=name, lr=lr) for name in names)


CAPTIONS = Stage(
    name="captions",
    model=AT_224,
    train=learned(1e-4, "connector", "fusion"),
    data=MixtureData(mixture=Path("cogvlm_captions.yaml"), lazy=True),
    schedule=schedule(steps=120_000, batch_size=8192, warmup_share=0.1),
    ema=0.9999,
    dtype="bfloat16",
    gradient_checkpointing=True,
)
BOXES = replace(
    CAPTIONS,
    name="captions_and_boxes",
    train=learned(1e-5, "connector", "fusion"),
    data=MixtureData(mixture=Path("cogvlm_captions_and_boxes.yaml"), lazy=True),
    schedule=schedule(steps=30_000, batch_size=1024, warmup_share=0.02),
)
BOXES_AT_490 = replace(
    BOXES, name="captions_and_boxes_490", model=None, hand_over=LARGER, continues=True
)
INSTRUCTIONS = replace(
    CAPTIONS,
    name="instructions",
    model=None,
    train=(*learned(1e-5, "connector", "fusion"), *learned(1e-6, "vision_tower")),
    schedule=schedule(steps=6000, batch_size=1024, warmup_share=50 / 6000),
    ema=None,
)
SHORT = replace(
    CAPTIONS, model=None, schedule=schedule(steps=6000, batch_size=8192, warmup_share=0.1)
)
"""The steps of the paper's ablations."""
