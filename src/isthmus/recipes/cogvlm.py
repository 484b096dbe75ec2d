"""CogVLM: a frozen language model whose layers have weights of their own for visual tokens.

Wang et al., arXiv 2311.03079 (NeurIPS 2024). Captions at 224 pixels, then captions and boxes, the
second half of them at 490; from there one model learns to answer and another one to name boxes.
docs/mixtures has the mixtures to begin with; name yours with `--stages.0.data.mixture`. The tower
lies in a checkpoint of another layout: name the folder of an `Eva2ClipVisionModel` that holds it,
or any other tower, with `--model.vision` and, of the first two stages of `base_490`, with
`--stages.0.model.vision` and `--stages.1.model.vision`.

Differs: no dropout, which the paper has at 0.1 (unverified). The learning rate falls to 0; where it
ends is not told. The decay of the moving average and the norm at which gradients are clipped are
not told either: the first is a choice of ours, the second that of the published fine-tuning.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from isthmus.fusion import FusionConfig
from isthmus.fusion.inline import Inline
from isthmus.fusion.visual_expert import VisualExpert
from isthmus.objectives.language_modeling import LanguageModeling
from isthmus.objectives.patch_prediction import PatchPrediction
from isthmus.recipes import _cogvlm
from isthmus.recipes._cogvlm import SHORT, learned
from isthmus.recipes._named import named
from isthmus.training.data import MixtureData
from isthmus.training.models import ModelConfig
from isthmus.training.stage import Recipe

CLIP = "openai/clip-vit-large-patch14"


def base_490() -> Recipe:
    """CogVLM before instructions: captions, then captions and boxes, the last at 490 pixels.

    Paper: arXiv 2311.03079, section 3.1: 120,000 steps of 8,192 captions, then 60,000 steps of
        1,024, of which the last 30,000 are at 490 pixels and go on with the same optimizer.
    Expected: zero-shot CIDEr 126.4 on NoCaps test and 94.9 on Flickr30k (recalled, unverified).
    Hardware: not told in the paper; its first version tells of 4,096 days of an A100 for the first
        stage (recalled, unverified).
    Command: `isthmus train cogvlm.base_490 --output DIR`
    """
    stages = (_cogvlm.CAPTIONS, _cogvlm.BOXES, _cogvlm.BOXES_AT_490)
    return named(base_490, *stages, model=_cogvlm.AT_490)


def chat() -> Recipe:
    """CogVLM-Chat: answers in words of one kind or the other, and the tower learns with the rest.

    Paper: arXiv 2311.03079v2, section 3.2: 6,000 steps of 1,024; the tower at a tenth of the rate.
    Differs: questions of data sets with short answers are asked `Short answer:` and conversations
        `Answer:`, as the authors ask their models; how they were mixed in training is not told.
    Expected: VQAv2 82.3, TextVQA 70.4, ScienceQA 91.2; MM-Vet 51.1, POPE 87.9 (the last two
        recalled, unverified).
    Hardware: not told in the paper.
    Command: `isthmus train cogvlm.chat --start DIR --output DIR`
    """
    model = replace(_cogvlm.AT_490, chat_template="cogvlm_chat")
    return _tuned(chat, model, "cogvlm_chat.yaml")


def grounding() -> Recipe:
    """CogVLM-Grounding: boxes of phrases, phrases of boxes, captions and answers with boxes.

    Paper: arXiv 2311.03079, section 3.2, for its data.
    Differs: steps, batch and rates are those of `chat`; the paper does not tell them. There a stage
        on grounded captions alone stands between, and images are augmented.
    Expected: accuracy at an overlap of 0.5: RefCOCO val 92.76, RefCOCO+ val 88.68, RefCOCOg val
        89.75, Visual7W 91.05 (version 1.1 of the published model).
    Hardware: not told in the paper.
    Command: `isthmus train cogvlm.grounding --start DIR --output DIR`
    """
    return _tuned(grounding, _cogvlm.AT_490, "cogvlm_grounding.yaml")


def short() -> Recipe:
    """The short schedule of the paper's ablations: the reference of all that follow.

    Paper: arXiv 2311.03079, table 6; its length is recalled (unverified).
    Expected: COCO 142.8, NoCaps 120.1, OK-VQA 59.3, TextVQA 45.3, VQAv2 80.0 (recalled,
        unverified).
    Hardware: not told in the paper.
    Command: `isthmus train cogvlm.short --output DIR`
    """
    return _short(short)


def short_adapter() -> Recipe:
    """The short schedule without experts: the connector learns alone.

    Paper: arXiv 2311.03079, table 6.
    Expected: COCO 131.2, NoCaps 111.6, OK-VQA 49.0, TextVQA 40.7, VQAv2 73.8 (recalled,
        unverified).
    Hardware: not told in the paper.
    Command: `isthmus train cogvlm.short_adapter --output DIR`
    """
    return _short(short_adapter, _NO_EXPERT, train=learned(1e-4, "connector"))


def short_language_model() -> Recipe:
    """The short schedule without experts: the language model learns with the connector.

    Paper: arXiv 2311.03079, table 6.
    Expected: COCO 140.3, NoCaps 118.5, OK-VQA 56.8, TextVQA 44.7, VQAv2 78.9 (recalled,
        unverified).
    Hardware: not told in the paper.
    Command: `isthmus train cogvlm.short_language_model --output DIR`
    """
    parts = learned(1e-4, "connector", "language_model")
    return _short(short_language_model, _NO_EXPERT, train=parts)


def short_every_fourth() -> Recipe:
    """The short schedule with experts in every fourth layer.

    Paper: arXiv 2311.03079, table 6.
    Expected: COCO 138.7, NoCaps 117.4, OK-VQA 58.9, TextVQA 44.1, VQAv2 77.6 (recalled,
        unverified).
    Hardware: not told in the paper.
    Command: `isthmus train cogvlm.short_every_fourth --output DIR`
    """
    return _short(short_every_fourth, VisualExpert.Config(every=4))


def short_feed_forward() -> Recipe:
    """The short schedule with experts of the feed-forward part alone.

    Paper: arXiv 2311.03079, table 6.
    Expected: COCO 140.0, NoCaps 118.7, OK-VQA 58.2, TextVQA 45.1, VQAv2 78.6 (recalled,
        unverified).
    Hardware: not told in the paper.
    Command: `isthmus train cogvlm.short_feed_forward --output DIR`
    """
    return _short(short_feed_forward, VisualExpert.Config(qkv="shared", output="shared"))


def short_random() -> Recipe:
    """The short schedule with experts that begin with fresh weights, not the language model's.

    Paper: arXiv 2311.03079, table 6.
    Expected: COCO 138.0, NoCaps 117.9, OK-VQA 55.9, TextVQA 44.0, VQAv2 79.1 (recalled,
        unverified).
    Hardware: not told in the paper.
    Command: `isthmus train cogvlm.short_random --output DIR`
    """
    fresh = VisualExpert.Config(qkv="random", output="random", mlp="random")
    return _short(short_random, fresh)


def short_full_mask() -> Recipe:
    """The short schedule where the visual tokens of an image all see one another.

    Paper: arXiv 2311.03079, table 6.
    Expected: COCO 141.0, NoCaps 117.2, OK-VQA 57.4, TextVQA 45.1, VQAv2 79.6 (recalled,
        unverified).
    Hardware: not told in the paper.
    Command: `isthmus train cogvlm.short_full_mask --output DIR`
    """
    return _short(short_full_mask, VisualExpert.Config(image_attention="full"))


def short_patch_prediction() -> Recipe:
    """The short schedule where each patch also tells what the tower sees in the next one.

    Paper: arXiv 2311.03079, table 6 ("image SSL loss").
    Differs: the form of the loss and its weight, 1, are choices of ours; see `PatchPrediction`.
    Expected: COCO 142.9, NoCaps 119.8, OK-VQA 58.7, TextVQA 45.9, VQAv2 79.7 (recalled,
        unverified).
    Hardware: not told in the paper.
    Command: `isthmus train cogvlm.short_patch_prediction --output DIR`
    """
    return _short(
        short_patch_prediction,
        train=(*SHORT.train, *learned(1e-4, "objectives")),
        objectives=(LanguageModeling.Config(), PatchPrediction.Config()),
    )


def short_small_tower() -> Recipe:
    """The short schedule with a vision tower of 0.3 billion parameters.

    Paper: arXiv 2311.03079, table 6.
    Differs: the tower is CLIP's ViT-L/14, its last block left out. The paper's is EVA2-CLIP-L,
        whose rotary positions and gated perceptrons transformers lacks.
    Expected: COCO 141.4, NoCaps 122.5, OK-VQA 59.2, TextVQA 42.8, VQAv2 79.0 (of the paper's
        tower; recalled, unverified).
    Hardware: not told in the paper.
    Command: `isthmus train cogvlm.short_small_tower --output DIR`
    """
    recipe = _short(short_small_tower)
    assert isinstance(recipe.model, ModelConfig)
    return replace(recipe, model=replace(recipe.model, vision=CLIP, vision_layer=-2))


def short_no_average() -> Recipe:
    """The short schedule that ends with its last weights, not with their moving average.

    Paper: arXiv 2311.03079, table 6.
    Expected: COCO 143.1, NoCaps 119.2, OK-VQA 57.1, TextVQA 43.8, VQAv2 79.4 (recalled,
        unverified).
    Hardware: not told in the paper.
    Command: `isthmus train cogvlm.short_no_average --output DIR`
    """
    return _short(short_no_average, ema=None)


def short_attention() -> Recipe:
    """The short schedule with experts of the attention alone.

    Paper: none; the half of arXiv 2311.03079's table 6 that it leaves out.
    Expected: not measured.
    Hardware: less than `short`.
    Command: `isthmus train cogvlm.short_attention --output DIR`
    """
    return _short(short_attention, VisualExpert.Config(mlp="shared"))


def short_low_rank() -> Recipe:
    """The short schedule with low-rank experts, of rank 256.

    Paper: none for CogVLM; the experts are the partial LoRA of InternLM-XComposer2, arXiv
        2401.16420, section 3.2, with its rank.
    Expected: not measured.
    Hardware: less than `short`.
    Command: `isthmus train cogvlm.short_low_rank --output DIR`
    """
    low = VisualExpert.Config(qkv="low_rank", output="low_rank", mlp="low_rank", rank=256)
    return _short(short_low_rank, low)


def short_sequential() -> Recipe:
    """The short schedule where visual tokens have positions of their own, counted like words.

    Paper: none; arXiv 2311.03079, section 2.1, gives all patches of an image one.
    Expected: not measured.
    Hardware: as `short`.
    Command: `isthmus train cogvlm.short_sequential --output DIR`
    """
    return _short(short_sequential, VisualExpert.Config(positions="sequential"))


_NO_EXPERT = Inline.Config(positions="shared")
"""Visual tokens lie as they do with experts, and go through the language model's own weights."""


def _short(
    function: Callable[[], Recipe],
    fusion: FusionConfig = _cogvlm.AT_224.fusion,
    **changes: Any,
) -> Recipe:
    """Returns the reference of the ablations, with another fusion or changes of its stage."""
    model = replace(_cogvlm.AT_224, fusion=fusion)
    return named(function, replace(SHORT, **changes), model=model)


def _tuned(function: Callable[[], Recipe], model: ModelConfig, mixture: str) -> Recipe:
    """Returns a recipe that goes on from `base_490`."""
    stage = replace(_cogvlm.INSTRUCTIONS, data=MixtureData(mixture=Path(mixture)))
    return named(function, stage, model=model, start=Path("runs/cogvlm"))
