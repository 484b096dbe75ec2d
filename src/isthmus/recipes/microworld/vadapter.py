"""PaLM2-VAdapter in small: a smaller language model as the adapter, for pictures and clips."""

from collections.abc import Callable
from dataclasses import replace

from isthmus.connectors.attentional_pooler import AttentionalPooler
from isthmus.connectors.base import ConnectorConfig
from isthmus.connectors.language_adapter import LanguageAdapter
from isthmus.connectors.perceiver_resampler import PerceiverResampler
from isthmus.recipes._named import named
from isthmus.recipes._vadapter import DECODER_TO_ADAPTER
from isthmus.recipes.microworld._shared import (
    ALONE_LR,
    D_HEAD,
    HEADS,
    LANGUAGE,
    LAYERED_LR,
    NUM_TOKENS,
    TASKS,
    captions,
    connector,
    instructions,
    joined,
)
from isthmus.training.models import ModelConfig
from isthmus.training.stage import MicroworldData, Recipe, Stage

_SMALL = "microworld:lm_tiny"
_FRAMES = 8
_CLIPS = ("direction", "order", "visits")


def vadapter() -> Recipe:
    """VAdapter in small: the small model writes captions first, then it is the adapter.

    Paper: arXiv 2402.10896, section 3.3 and table 3.
    Differs: the second stage learns from questions about pictures and clips, since a model of this
        size answers none of its own accord; 16 visual tokens.
    Expected: not measured yet; `make bench-papers` does.
    Hardware: 2 CPU cores, 2 GB of memory; about 4 minutes.
    Command: `isthmus train microworld.vadapter --output DIR`
    """
    return named(vadapter, _decoder(), _second(handed=True), model=_clips(_ADAPTER, _SMALL))


def vadapter_no_first_stage() -> Recipe:
    """VAdapter in small, whose small model has never seen anything before.

    Paper: arXiv 2402.10896, table 3, second row: worse.
    Expected: not measured yet; `make bench-papers` does.
    Hardware: as `vadapter`.
    Command: `isthmus train microworld.vadapter_no_first_stage --output DIR`
    """
    return _alone(vadapter_no_first_stage, _clips(_ADAPTER, _SMALL))


def vadapter_random() -> Recipe:
    """VAdapter in small, whose small model begins with fresh weights.

    Paper: arXiv 2402.10896, table 3, first row: worst.
    Expected: not measured yet; `make bench-papers` does.
    Hardware: as `vadapter`.
    Command: `isthmus train microworld.vadapter_random --output DIR`
    """
    return _alone(vadapter_random, _clips(replace(_ADAPTER, pretrained=False), _SMALL))


def vadapter_perceiver() -> Recipe:
    """The adapter that VAdapter compares with: a perceiver resampler of six layers.

    Paper: arXiv 2402.10896, tables 1 and 2: worse, and slower to learn.
    Expected: not measured yet; `make bench-papers` does.
    Hardware: as `vadapter`.
    Command: `isthmus train microworld.vadapter_perceiver --output DIR`
    """
    return _alone(vadapter_perceiver, _clips(replace(_RESAMPLER, depth=6)))


def vadapter_large() -> Recipe:
    """VAdapter in small, before a language model of twice the layers.

    Paper: arXiv 2402.10896, tables 5 to 8: better at questions, not at captions.
    Expected: not measured yet; `make bench-papers` does.
    Hardware: as `vadapter`, half as long again.
    Command: `isthmus train microworld.vadapter_large --output DIR`
    """
    model = replace(_clips(_ADAPTER, _SMALL), language="microworld:lm_chat_large")
    return named(vadapter_large, _decoder(), _second(handed=True), model=model)


_RESAMPLER = PerceiverResampler.Config(
    num_latents=NUM_TOKENS,
    depth=1,
    num_heads=HEADS,
    d_head=D_HEAD,
    final_norm=False,
    num_frames=_FRAMES,
)
_ADAPTER = LanguageAdapter.Config(resampler=_RESAMPLER)
_POOLER = AttentionalPooler.Config(num_queries=NUM_TOKENS, num_heads=HEADS, d_head=D_HEAD)


def _clips(between: ConnectorConfig, start: str | None = None) -> ModelConfig:
    return joined(between, connector_start=start, clip_frames=_FRAMES)


def _decoder() -> Stage:
    """Returns the first stage, of pictures that stand still."""
    stage = captions(ALONE_LR)
    assert isinstance(stage.data, MicroworldData)
    return replace(
        stage,
        name="decoder",
        model=replace(_clips(_POOLER), language=_SMALL),
        train=(*stage.train, LANGUAGE),
        data=replace(stage.data, still_frames=_FRAMES),
    )


def _second(*, handed: bool) -> Stage:
    stage = instructions(connector(LAYERED_LR))
    asked = MicroworldData(
        split="train", num=1500, turns=6, tasks=(*TASKS, *_CLIPS), still_frames=_FRAMES
    )
    return replace(
        stage,
        data=asked,
        validation=replace(asked, split="val", num=128, turns=None),
        hand_over=DECODER_TO_ADAPTER if handed else None,
    )


def _alone(function: Callable[[], Recipe], model: ModelConfig) -> Recipe:
    return named(function, _second(handed=False), model=model)
