"""What the recipes of PaLM2-VAdapter share: towers, adapters, both stages, the hand-over."""

from dataclasses import replace
from pathlib import Path

from isthmus.connectors.attentional_pooler import AttentionalPooler
from isthmus.connectors.base import ConnectorConfig
from isthmus.connectors.language_adapter import LanguageAdapter
from isthmus.connectors.perceiver_resampler import PerceiverResampler
from isthmus.training.data import MixtureData
from isthmus.training.models import HandOver, ModelConfig
from isthmus.training.stage import Part, Schedule, Stage

LLAMA_1B = "meta-llama/Llama-3.2-1B"
LLAMA_8B = "meta-llama/Llama-3.1-8B"
SMOLLM2_135M = "HuggingFaceTB/SmolLM2-135M"
"""106 million parameters without its words, where the paper's small model has 108."""
SMOLLM2_360M = "HuggingFaceTB/SmolLM2-360M"
VIT_B, VIT_L, VIT_G = "coca-vit-b", "coca-vit-l", "coca-vit-g"
"""CoCa's vision transformers at 288 pixels with patches of 18; their weights are not public."""
SIGLIP_B = "google/siglip-base-patch16-256"
"""256 patches of an image, as many as CoCa's have here."""

_WIDTHS = {VIT_B: 768, VIT_L: 1024, VIT_G: 1408, SIGLIP_B: 768}
_DECODER_WIDTHS = {SMOLLM2_135M: 576, SMOLLM2_360M: 960}
_HEADS = 8
_FRAMES = 8
_QUERIES = 256

DECODER_TO_ADAPTER = HandOver(
    keys=(("model.language_model.**", "model.connector.body.model.**"),),
    left=(
        "model.vision_tower.**",
        "model.connector.**",
        "model.language_model.embed_tokens.*",
        "lm_head.*",
    ),
    fresh=("model.connector.resampler.**", "model.connector.projection.*"),
)
"""From the first stage to the second: the blocks alone; words, head and pooler stay behind."""


def adapter(vision: str) -> LanguageAdapter.Config:
    """Returns the paper's adapter, of which the model that it starts from decides the rest.

    Args:
        vision: one of the towers above; the resampler is as wide as its patches.
    """
    return LanguageAdapter.Config(resampler=resampler(vision, depth=1))


def resampler(vision: str, *, depth: int) -> PerceiverResampler.Config:
    """Returns what reads the patches of a tower before the small model."""
    return replace(_PERCEIVER, depth=depth, d_head=_WIDTHS[vision] // _HEADS)


def perceiver() -> PerceiverResampler.Config:
    """Returns the adapter that the paper compares with: the best row of each part of table 1."""
    return replace(_PERCEIVER, d_hidden=768, d_head=768 // _HEADS)


def pooler(width: int) -> AttentionalPooler.Config:
    """Returns CoCa's pooler.

    Args:
        width: of a query.
    """
    return AttentionalPooler.Config(num_queries=_QUERIES, num_heads=_HEADS, d_head=width // _HEADS)


_PERCEIVER = PerceiverResampler.Config(
    num_latents=_QUERIES, depth=6, num_heads=_HEADS, final_norm=False, num_frames=_FRAMES
)


def joined(
    vision: str, language: str, connector: ConnectorConfig, start: str | None = None
) -> ModelConfig:
    """Returns a model that reads an image as a clip which stands still."""
    return ModelConfig(
        vision=vision,
        language=language,
        connector=connector,
        connector_start=start,
        vision_layer=-1,
        clip_frames=_FRAMES,
        chat_template="continued",
    )


def decoder_stage(vision: str, small: str) -> Stage:
    """Returns the first stage: a small language model writes captions behind a pooler."""
    return Stage(
        name="decoder",
        model=joined(vision, small, pooler(_DECODER_WIDTHS[small])),
        train=(_CONNECTOR, Part(name="language_model", lr=_CONNECTOR.lr)),
        data=_CAPTIONS,
        schedule=_SCHEDULE,
        dtype="bfloat16",
        gradient_checkpointing=True,
    )


def adapter_stage() -> Stage:
    """Returns the second stage: what stands before the frozen large language model learns."""
    return Stage(
        name="adapter",
        train=(_CONNECTOR,),
        data=_CAPTIONS,
        schedule=_SCHEDULE,
        dtype="bfloat16",
        gradient_checkpointing=True,
    )


_CONNECTOR = Part(name="connector", lr=5e-4)
_CAPTIONS = MixtureData(mixture=Path("vadapter_captions.yaml"), lazy=True)
_SCHEDULE = Schedule(
    steps=250_000,
    batch_size=2048,
    warmup_share=1000 / 250_000,
    decay="linear",
    weight_decay=1e-4,
    betas=(0.9, 0.999),
)
