"""PaLM2-VAdapter in small: a smaller language model as the adapter, for pictures and clips."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from isthmus.connectors.attentional_pooler import AttentionalPooler
from isthmus.connectors.base import ConnectorConfig
from isthmus.connectors.language_adapter import LanguageAdapter
from isthmus.connectors.perceiver_resampler import PerceiverResampler
from isthmus.evaluation.benchmarks.microworld import CLIP_TASKS
from isthmus.recipes._named import named
from isthmus.recipes.microworld._shared import (
    ALONE_LR,
    CHAT,
    D_HEAD,
    HEADS,
    LANGUAGE,
    LAYERED_LR,
    NUM_TOKENS,
    PERCEPTRON,
    SIGLIP,
    TASKS,
    captions,
    clips,
    connector,
    instructions,
    joined,
)
from isthmus.training.data import MicroworldData
from isthmus.training.models import HandOver, ModelConfig
from isthmus.training.stage import Recipe, Stage

_SMALL = "microworld:lm_tiny"
_FRAMES = 8


def vadapter() -> Recipe:
    """VAdapter in small: the small model writes captions, becomes the adapter, then all answers.

    Paper: arXiv 2402.10896, section 3.3 and table 3.
    Differs: behind both stages, the model learns from questions about pictures and clips, and the
        language model learns, too: frozen, it is told little in minutes. The resampler is that of
        the first stage, where it stands in the pooler's place; a fresh one has learned to look at
        little by the end of the second. 16 visual tokens; the first two stages learn from pictures
        alone.
    Expected: score 0.48 of what needs eyes, 0.21 without pictures; mean of 3 seeds.
    Hardware: 2 CPU cores, 2 GB of memory; about 8 minutes.
    Command: `isthmus train microworld.vadapter --output DIR`
    """
    return _whole(vadapter)


def vadapter_clips() -> Recipe:
    """VAdapter in small with clips alone, after `vadapter`, which sees few of them.

    Paper: arXiv 2402.10896, tables 6 and 8: captions and questions of clips.
    Differs: as `vadapter`; the paper learns pictures and clips together.
    Expected: 0.24 of what captions say, 0 without pictures; questions as without; mean of 3 seeds.
    Hardware: as `vadapter`.
    Command: `isthmus train microworld.vadapter_clips --start runs/vadapter --output DIR`
    """
    stages = clips(connector(ALONE_LR), LANGUAGE)
    model, start = _clips(_ADAPTER, _SMALL), Path("runs/vadapter")
    return named(vadapter_clips, *stages, model=model, start=start)


def vadapter_no_first_stage() -> Recipe:
    """VAdapter in small, whose small model has never seen anything before.

    Paper: arXiv 2402.10896, table 3, second row: worse.
    Expected: score 0.30 of what needs eyes, 0.21 without pictures; mean of 3 seeds.
    Hardware: as `vadapter`.
    Command: `isthmus train microworld.vadapter_no_first_stage --output DIR`
    """
    return _alone(vadapter_no_first_stage, _clips(_ADAPTER, _SMALL))


def vadapter_random() -> Recipe:
    """VAdapter in small, whose small model begins with fresh weights.

    Paper: arXiv 2402.10896, table 3, first row: worst.
    Expected: score 0.64 of what needs eyes, 0.21 without pictures; mean of 3 seeds.
    Hardware: as `vadapter`.
    Command: `isthmus train microworld.vadapter_random --output DIR`
    """
    return _alone(vadapter_random, _clips(replace(_ADAPTER, pretrained=False), _SMALL))


def vadapter_pooler() -> Recipe:
    """VAdapter in small, whose small model stands behind an attentional pooler in both stages.

    Paper: arXiv 2402.10896, table 4, first row: worse than a resampler of one layer.
    Differs: as `vadapter`; the pooler, too, is that of the first stage.
    Expected: score 0.58 of what needs eyes, 0.21 without pictures; mean of 3 seeds.
    Hardware: as `vadapter`.
    Command: `isthmus train microworld.vadapter_pooler --output DIR`
    """
    pooler = AttentionalPooler.Config(num_queries=NUM_TOKENS, num_heads=HEADS, d_head=D_HEAD)
    return _whole(vadapter_pooler, replace(_ADAPTER, resampler=pooler))


def vadapter_six_layers() -> Recipe:
    """VAdapter in small, whose small model stands behind a resampler of six layers.

    Paper: arXiv 2402.10896, table 4, third row: far worse than one layer.
    Differs: as `vadapter`.
    Expected: score 0.45 of what needs eyes, 0.21 without pictures; mean of 3 seeds.
    Hardware: as `vadapter`.
    Command: `isthmus train microworld.vadapter_six_layers --output DIR`
    """
    six = replace(_ADAPTER, resampler=replace(_RESAMPLER, depth=6))
    return _whole(vadapter_six_layers, six)


def vadapter_bidirectional() -> Recipe:
    """VAdapter in small, whose adapter sees later visual tokens, too.

    Paper: none; arXiv 2402.10896 does not say whether they are seen.
    Differs: as `vadapter`; the first stage writes captions, and stays causal.
    Expected: score 0.43 of what needs eyes, 0.21 without pictures; mean of 3 seeds.
    Hardware: as `vadapter`.
    Command: `isthmus train microworld.vadapter_bidirectional --output DIR`
    """
    return _whole(vadapter_bidirectional, replace(_ADAPTER, attention="bidirectional"))


def vadapter_perceiver() -> Recipe:
    """The adapter that VAdapter compares with: a perceiver resampler of six layers.

    Paper: arXiv 2402.10896, tables 1 and 2: worse, and slower to learn.
    Expected: score 0.62 of what needs eyes, 0.21 without pictures; mean of 3 seeds.
    Hardware: as `vadapter`.
    Command: `isthmus train microworld.vadapter_perceiver --output DIR`
    """
    return _alone(vadapter_perceiver, _clips(replace(_RESAMPLER, depth=6)))


def vadapter_mlp() -> Recipe:
    """The other adapter that VAdapter compares with: two layers, a visual token for each patch.

    Paper: arXiv 2402.10896, table 13: a little worse at captions, far worse at questions.
    Differs: the language model learns, too; there are 64 visual tokens, `vadapter` has 16; and all
        pictures stand still, since the paper does not say how eight frames pass an MLP.
    Expected: score 0.76 of what needs eyes, 0.21 without pictures; mean of 3 seeds.
    Hardware: as `vadapter`.
    Command: `isthmus train microworld.vadapter_mlp --output DIR`
    """
    stages = captions(ALONE_LR, num=6000), instructions(connector(ALONE_LR), LANGUAGE)
    return named(vadapter_mlp, *stages, model=joined(PERCEPTRON))


def vadapter_large() -> Recipe:
    """VAdapter in small, before a language model of twice the layers.

    Paper: arXiv 2402.10896, tables 5 to 8: better at questions, not at captions.
    Expected: score 0.51 of what needs eyes, 0.21 without pictures; mean of 3 seeds.
    Hardware: as `vadapter`, half as long again.
    Command: `isthmus train microworld.vadapter_large --output DIR`
    """
    return _whole(vadapter_large, language="microworld:lm_chat_large")


def vadapter_large_tower() -> Recipe:
    """VAdapter in small, behind a vision tower of twice the layers.

    Paper: arXiv 2402.10896, tables 2 and 5 to 8: better.
    Expected: score 0.56 of what needs eyes, 0.21 without pictures; mean of 3 seeds.
    Hardware: as `vadapter`.
    Command: `isthmus train microworld.vadapter_large_tower --output DIR`
    """
    return _whole(vadapter_large_tower, vision="microworld:siglip_large")


def vadapter_large_adapter() -> Recipe:
    """VAdapter in small, whose adapter is a language model as large as the one that answers.

    Paper: none; the small model of arXiv 2402.10896 is a tenth of the smallest that answers.
    Differs: as `vadapter`.
    Expected: score 0.65 of what needs eyes, 0.21 without pictures; mean of 3 seeds.
    Hardware: as `vadapter`, half as long again.
    Command: `isthmus train microworld.vadapter_large_adapter --output DIR`
    """
    return _whole(vadapter_large_adapter, small="microworld:lm_base")


_RESAMPLER = PerceiverResampler.Config(
    num_latents=NUM_TOKENS,
    depth=1,
    num_heads=HEADS,
    d_head=D_HEAD,
    final_norm=False,
    num_frames=_FRAMES,
)
_ADAPTER = LanguageAdapter.Config(resampler=_RESAMPLER)
_HANDED = HandOver(
    keys=(
        ("model.language_model.**", "model.connector.body.model.**"),
        ("model.connector.**", "model.connector.resampler.**"),
    ),
    left=("model.vision_tower.**", "model.language_model.embed_tokens.*", "lm_head.*"),
    fresh=("model.connector.projection.*",),
)


def _clips(between: ConnectorConfig, start: str | None = None) -> ModelConfig:
    return joined(between, connector_start=start, clip_frames=_FRAMES)


def _decoder(vision: str, small: str, resampler: ConnectorConfig) -> Stage:
    """Returns the first stage: the small model writes captions behind its resampler."""
    stage = _stills(captions(ALONE_LR))
    return replace(
        stage,
        name="decoder",
        model=replace(_clips(resampler), vision=vision, language=small),
        train=(*stage.train, LANGUAGE),
    )


def _adapter(before: HandOver | None = None) -> Stage:
    """Returns the second stage: what stands before the frozen language model learns."""
    stage = _stills(captions(ALONE_LR, num=6000))
    return replace(stage, name="adapter", hand_over=before)


def _stills(stage: Stage) -> Stage:
    """Returns a stage whose pictures are clips that stand still."""
    assert isinstance(stage.data, MicroworldData)
    return replace(stage, data=replace(stage.data, still_frames=_FRAMES))


def _instructions() -> Stage:
    """Returns the stage of all twins, with clips among the pictures."""
    stage = instructions(connector(LAYERED_LR), LANGUAGE)
    asked, held_out = stage.data, stage.validation
    assert isinstance(asked, MicroworldData)
    assert isinstance(held_out, MicroworldData)
    tasks = (*TASKS, *CLIP_TASKS)
    return replace(
        stage,
        data=replace(asked, tasks=tasks, still_frames=_FRAMES),
        validation=replace(held_out, tasks=tasks, still_frames=_FRAMES),
    )


def _whole(
    function: Callable[[], Recipe],
    adapter: LanguageAdapter.Config = _ADAPTER,
    *,
    vision: str = SIGLIP,
    small: str = _SMALL,
    language: str = CHAT,
) -> Recipe:
    model = replace(_clips(adapter, small), vision=vision, language=language)
    decoder = _decoder(vision, small, adapter.resampler)
    stages = (decoder, _adapter(_HANDED), _instructions())
    return named(function, *stages, model=model)


def _alone(function: Callable[[], Recipe], model: ModelConfig) -> Recipe:
    return named(function, _adapter(), _instructions(), model=model)
