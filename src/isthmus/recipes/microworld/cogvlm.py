"""CogVLM in small: experts for visual tokens in a frozen language model, and its ablations."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from isthmus.connectors.glu import GLU
from isthmus.fusion import FusionConfig
from isthmus.fusion.inline import Inline
from isthmus.fusion.visual_expert import VisualExpert
from isthmus.objectives.language_modeling import LanguageModeling
from isthmus.objectives.patch_prediction import PatchPrediction
from isthmus.recipes._named import named
from isthmus.recipes.microworld._shared import (
    ALONE_LR,
    LANGUAGE,
    SIGLIP,
    captions,
    connector,
    grounding,
    instructions,
    joined,
    styles,
)
from isthmus.training.stage import Part, Recipe

_EXPERTS = Part(name="fusion", lr=1e-3)


def cogvlm() -> Recipe:
    """CogVLM in small: captions, then questions; the language model stays as it is.

    So it answers text alone as before, bit by bit.

    Paper: arXiv 2311.03079, section 2.
    Differs: the rates are those of a small model, and there is one resolution.
    Expected: score 0.70 of what needs eyes, 0.21 without pictures; mean of 3 seeds.
    Hardware: 2 CPU cores, 2 GB of memory; about 4 minutes.
    Command: `isthmus train microworld.cogvlm --output DIR`
    """
    return _model(cogvlm, VisualExpert.Config(), _EXPERTS)


def cogvlm_adapter() -> Recipe:
    """CogVLM in small without experts: the connector learns alone.

    Paper: arXiv 2311.03079, table 6: shallow fusion is far worse than deep fusion.
    Expected: score 0.59 of what needs eyes, 0.21 without pictures; mean of 3 seeds.
    Hardware: as `cogvlm`.
    Command: `isthmus train microworld.cogvlm_adapter --output DIR`
    """
    return _model(cogvlm_adapter, Inline.Config(positions="shared"))


def cogvlm_language_model() -> Recipe:
    """CogVLM in small without experts: the language model learns, and forgets.

    Paper: arXiv 2311.03079, table 6 and appendix: what it knew of text falls.
    Expected: score 0.70 of what needs eyes, 0.21 without pictures; mean of 3 seeds.
    Hardware: as `cogvlm`.
    Command: `isthmus train microworld.cogvlm_language_model --output DIR`
    """
    return _model(cogvlm_language_model, Inline.Config(positions="shared"), LANGUAGE)


def cogvlm_full_mask() -> Recipe:
    """CogVLM in small, whose visual tokens see those behind them, too.

    Paper: arXiv 2311.03079, table 6: no better.
    Expected: score 0.68 of what needs eyes, 0.21 without pictures; mean of 3 seeds.
    Hardware: as `cogvlm`.
    Command: `isthmus train microworld.cogvlm_full_mask --output DIR`
    """
    return _model(cogvlm_full_mask, VisualExpert.Config(image_attention="full"), _EXPERTS)


def cogvlm_random() -> Recipe:
    """CogVLM in small, with experts that begin with fresh weights.

    Paper: arXiv 2311.03079, table 6: worse than those that begin as the language model's.
    Expected: score 0.20 of what needs eyes, 0.21 without pictures; mean of 3 seeds.
    Hardware: as `cogvlm`.
    Command: `isthmus train microworld.cogvlm_random --output DIR`
    """
    fresh = VisualExpert.Config(qkv="random", output="random", mlp="random")
    return _model(cogvlm_random, fresh, _EXPERTS)


def cogvlm_ema() -> Recipe:
    """CogVLM in small, which ends with an average of the weights that it went through.

    Paper: arXiv 2311.03079, table 6: better than the last weights.
    Differs: the average forgets within a hundred steps, since there are but 400; and it
        is that of the last stage alone.
    Expected: score 0.69 of what needs eyes, 0.21 without pictures; mean of 3 seeds.
    Hardware: as `cogvlm`.
    Command: `isthmus train microworld.cogvlm_ema --output DIR`
    """
    whole = _model(cogvlm_ema, VisualExpert.Config(), _EXPERTS)
    first, last = whole.stages
    return replace(whole, stages=(first, replace(last, ema=0.99)))


def cogvlm_every_fourth() -> Recipe:
    """CogVLM in small, with experts in every fourth layer: two of six.

    Paper: arXiv 2311.03079, table 6: worse than in all.
    Expected: score 0.69 of what needs eyes, 0.21 without pictures; mean of 3 seeds.
    Hardware: as `cogvlm`.
    Command: `isthmus train microworld.cogvlm_every_fourth --output DIR`
    """
    return _model(cogvlm_every_fourth, VisualExpert.Config(every=4), _EXPERTS)


def cogvlm_feed_forward() -> Recipe:
    """CogVLM in small, with experts of the feed-forward part alone.

    Paper: arXiv 2311.03079, table 6: worse than those of both parts.
    Expected: score 0.66 of what needs eyes, 0.21 without pictures; mean of 3 seeds.
    Hardware: as `cogvlm`.
    Command: `isthmus train microworld.cogvlm_feed_forward --output DIR`
    """
    half = VisualExpert.Config(qkv="shared", output="shared")
    return _model(cogvlm_feed_forward, half, _EXPERTS)


def cogvlm_attention() -> Recipe:
    """CogVLM in small, with experts of the attention alone.

    Paper: none; the half of arXiv 2311.03079's table 6 that it leaves out.
    Expected: score 0.69 of what needs eyes, 0.21 without pictures; mean of 3 seeds.
    Hardware: as `cogvlm`.
    Command: `isthmus train microworld.cogvlm_attention --output DIR`
    """
    return _model(cogvlm_attention, VisualExpert.Config(mlp="shared"), _EXPERTS)


def cogvlm_low_rank() -> Recipe:
    """CogVLM in small, with low-rank experts: a sixteenth of the width, as 256 of 4,096.

    Paper: none for CogVLM; InternLM-XComposer2, arXiv 2401.16420, section 3.2.
    Expected: score 0.67 of what needs eyes, 0.21 without pictures; mean of 3 seeds.
    Hardware: as `cogvlm`.
    Command: `isthmus train microworld.cogvlm_low_rank --output DIR`
    """
    low = VisualExpert.Config(qkv="low_rank", output="low_rank", mlp="low_rank", rank=12)
    return _model(cogvlm_low_rank, low, _EXPERTS)


def cogvlm_sequential() -> Recipe:
    """CogVLM in small, whose visual tokens have positions of their own, counted like words.

    Paper: none; arXiv 2311.03079, section 2.1, gives all patches of an image one.
    Expected: score 0.72 of what needs eyes, 0.21 without pictures; mean of 3 seeds.
    Hardware: as `cogvlm`.
    Command: `isthmus train microworld.cogvlm_sequential --output DIR`
    """
    return _model(cogvlm_sequential, _SEQUENTIAL, _EXPERTS)


def cogvlm_patch_prediction() -> Recipe:
    """CogVLM in small, where each patch also tells what the tower sees in the next one.

    Paper: arXiv 2311.03079, table 6 ("image SSL loss"): no clear gain.
    Differs: the form of the loss and its weight, 1, are choices of ours; see `PatchPrediction`.
    Expected: score 0.71 of what needs eyes, 0.21 without pictures; mean of 3 seeds.
    Hardware: as `cogvlm`.
    Command: `isthmus train microworld.cogvlm_patch_prediction --output DIR`
    """
    heads = Part(name="objectives", lr=ALONE_LR)
    whole = _model(cogvlm_patch_prediction, VisualExpert.Config(), _EXPERTS, heads)
    both = (LanguageModeling.Config(), PatchPrediction.Config())
    return replace(whole, stages=tuple(replace(each, objectives=both) for each in whole.stages))


def cogvlm_large_tower() -> Recipe:
    """CogVLM in small, behind a vision tower of twice the layers.

    Paper: arXiv 2311.03079, table 6: a smaller one is worse, above all at reading, but for NoCaps.
    Expected: score 0.70 of what needs eyes, 0.21 without pictures; mean of 3 seeds.
    Hardware: as `cogvlm`.
    Command: `isthmus train microworld.cogvlm_large_tower --output DIR`
    """
    large = "microworld:siglip_large"
    return _model(cogvlm_large_tower, VisualExpert.Config(), _EXPERTS, vision=large)


def cogvlm_chat() -> Recipe:
    """CogVLM-Chat in small: each question is answered in a word or in a sentence, as it is asked.

    Paper: arXiv 2311.03079v2, section 3.2; the two ways to ask are its authors'.
    Differs: the tower stays frozen, there it learns at a tenth of the rate. The language model
        learns, too: it has never been asked in these words, and experts alone do not make it answer
        in them.
    Expected: 0.49 of answers right and in their style, 0.33 without pictures; all in their style;
        mean of 3 seeds.
    Hardware: as `cogvlm`.
    Command: `isthmus train microworld.cogvlm_chat --start runs/cogvlm --output DIR`
    """
    model = joined(GLU.Config(), fusion=VisualExpert.Config(), chat_template="cogvlm_chat")
    stage, start = styles(connector(ALONE_LR), _EXPERTS, LANGUAGE), Path("runs/cogvlm")
    return named(cogvlm_chat, stage, model=model, start=start)


def cogvlm_grounding() -> Recipe:
    """CogVLM-Grounding in small: captions with boxes, then its four tasks, after `cogvlm`.

    Paper: arXiv 2311.03079, section 3.2: boxes of phrases, phrases of boxes, captions and answers
        with boxes; the model that these begin with has learned captions with boxes.
    Differs: the tower stays frozen, there it learns at a tenth of the rate.
    Expected: 0.05 of boxes at IoU 0.5, 0 without pictures; 0.73 of phrases of boxes; mean of 3
        seeds.
    Hardware: as `cogvlm`.
    Command: `isthmus train microworld.cogvlm_grounding --start runs/cogvlm --output DIR`
    """
    return _grounding(cogvlm_grounding, VisualExpert.Config(), start="runs/cogvlm")


def cogvlm_sequential_grounding() -> Recipe:
    """CogVLM-Grounding in small, where each patch has a position of its own, as each word has.

    Paper: none; as `cogvlm_grounding`.
    Expected: 0.08 of boxes at IoU 0.5, 0 without pictures; 0.72 of phrases of boxes; mean of 3
        seeds.
    Hardware: as `cogvlm`.
    Command: `isthmus train microworld.cogvlm_sequential_grounding
        --start runs/cogvlm_sequential --output DIR`
    """
    return _grounding(cogvlm_sequential_grounding, _SEQUENTIAL, start="runs/cogvlm_sequential")


_SEQUENTIAL = VisualExpert.Config(positions="sequential")


def _grounding(function: Callable[[], Recipe], fusion: FusionConfig, *, start: str) -> Recipe:
    stages = grounding(connector(ALONE_LR), _EXPERTS)
    model = joined(GLU.Config(), fusion=fusion)
    return named(function, *stages, model=model, start=Path(start))


def _model(
    function: Callable[[], Recipe], fusion: FusionConfig, *parts: Part, vision: str = SIGLIP
) -> Recipe:
    bridge = connector(ALONE_LR)
    first: Any = replace(captions(ALONE_LR), train=(bridge, *parts))
    model = joined(GLU.Config(), fusion=fusion, vision=vision)
    return named(function, first, instructions(bridge, *parts), model=model)
