"""What the papers compare with, in small: nothing but new layers learns before a frozen model."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from isthmus.connectors.linear import Linear
from isthmus.connectors.perceiver_resampler import PerceiverResampler
from isthmus.fusion.gated_cross_attention import GatedCrossAttention
from isthmus.recipes._named import named
from isthmus.recipes.microworld._shared import (
    ALONE_LR,
    D_HEAD,
    HEADS,
    LINEAR_LR,
    NUM_TOKENS,
    captions,
    connector,
    instructions,
    joined,
)
from isthmus.training.stage import Part, Recipe


def flamingo() -> Recipe:
    """Flamingo in small: gated cross-attention in every second layer of a frozen model.

    Paper: Flamingo, arXiv 2204.14198, section 3.
    Differs: pairs and questions in place of pages with pictures.
    Expected: score 0.21 of what needs eyes, 0.21 without pictures; mean of 3 seeds.
    Hardware: 2 CPU cores, 2 GB of memory; about 4 minutes.
    Command: `isthmus train microworld.flamingo --output DIR`
    """
    return _gated(flamingo, _RESAMPLER, every=2)


def idefics() -> Recipe:
    """Idefics in small: fewer layers with gated cross-attention, and a resampler with norms.

    Paper: arXiv 2306.16527, as `baselines.idefics_9b`.
    Differs: as `flamingo`; every third of six layers, where the paper has every fourth of 32.
    Expected: score 0.21 of what needs eyes, 0.21 without pictures; mean of 3 seeds.
    Hardware: as `flamingo`.
    Command: `isthmus train microworld.idefics --output DIR`
    """
    resampler = replace(_RESAMPLER, activation="relu", qk_layer_norms=True)
    return _gated(idefics, resampler, every=3)


def anymal() -> Recipe:
    """AnyMAL in small: a resampler learns before a frozen model, which reads its words inline.

    Paper: arXiv 2309.16058, section 3.
    Differs: it learns from questions, too.
    Expected: score 0.40 of what needs eyes, 0.21 without pictures; mean of 3 seeds.
    Hardware: as `flamingo`.
    Command: `isthmus train microworld.anymal --output DIR`
    """
    stages = (captions(ALONE_LR), instructions(connector(ALONE_LR)))
    return named(anymal, *stages, model=joined(_RESAMPLER))


def frozen_linear() -> Recipe:
    """One linear layer learns; vision tower and language model stay as they are.

    Paper: LiMBeR, arXiv 2209.15162, section 3.
    Differs: it learns from questions, too.
    Expected: score 0.61 of what needs eyes, 0.21 without pictures; mean of 3 seeds.
    Hardware: 2 CPU cores, 2 GB of memory; 3 to 4 minutes.
    Command: `isthmus train microworld.frozen_linear --output DIR`
    """
    bridge = connector(LINEAR_LR)
    stages = (captions(LINEAR_LR), instructions(bridge))
    return named(frozen_linear, *stages, model=joined(Linear.Config()))


_ATTENTION: dict[str, Any] = {"num_heads": HEADS, "d_head": D_HEAD}
_RESAMPLER = PerceiverResampler.Config(num_latents=NUM_TOKENS, depth=2, **_ATTENTION)


def _gated(
    function: Callable[[], Recipe], resampler: PerceiverResampler.Config, *, every: int
) -> Recipe:
    """Returns a twin whose resampler and gated blocks learn, from captions and then questions."""
    model = joined(resampler, fusion=GatedCrossAttention.Config(every=every, **_ATTENTION))
    parts = (connector(ALONE_LR), Part(name="fusion", lr=1e-3))
    first = replace(captions(ALONE_LR), train=parts)
    return named(function, first, instructions(*parts), model=model)
