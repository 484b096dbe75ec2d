"""PaLM2-VAdapter: a small language model between a vision tower and a large language model.

Xiao et al., arXiv 2402.10896v2. In the first stage the small model writes captions itself; in the
second its blocks turn what a resampler gathered into 256 visual tokens of a frozen larger one, for
an image as for a clip of 8 frames. Name the mixture with `--stages.0.data.mixture` and
`--stages.1.data.mixture`; docs/mixtures has one to begin with.

The recipes by the name of a ViT are the rows of the paper. Its CoCa towers cannot be had: name one
of yours wherever one is named, as `siglip_b_1b` shows, which needs none.

Differs: PaLM2 is not public. SmolLM2-135M is the small model, Llama 3.2 1B and 3.1 8B are the large
ones. Nor are WebLI and VTP, so the data are yours. The paper names neither the width of the
resampler, which is that of the patches here and then comes near its counts, nor the layer of the
tower, nor clipping. The settings of its table 10 are taken for both stages.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from isthmus.connectors.base import ConnectorConfig
from isthmus.connectors.mlp import MLP
from isthmus.recipes import _vadapter as shared
from isthmus.recipes._named import named
from isthmus.recipes._vadapter import LLAMA_1B, LLAMA_8B, SIGLIP_B, VIT_B, VIT_G, VIT_L
from isthmus.training.data import MixtureData
from isthmus.training.stage import Recipe


def vit_b_1b() -> Recipe:
    """VAdapter with ViT-B and a language model of 1 billion: the row that all others vary.

    Paper: arXiv 2402.10896, tables 2 to 8 and 10.
    Expected: CIDEr 83.0 on COCO, 42.1 on MSR-VTT, 38.3 on VATEX; VQAv2 53.8 (zero-shot).
    Hardware: 512 TPU v3, 8 hours for the first stage and about 20 for the second.
    Command: `isthmus train vadapter.vit_b_1b --model.vision TOWER --stages.0.model.vision TOWER
        --output DIR`
    """
    return _both(vit_b_1b, VIT_B)


def vit_l_1b() -> Recipe:
    """VAdapter with ViT-L and a language model of 1 billion.

    Paper: arXiv 2402.10896, tables 2 and 5 to 8.
    Expected: CIDEr 89.6 on COCO, 42.7 on MSR-VTT, 45.5 on VATEX; VQAv2 55.0 (zero-shot).
    Hardware: as `vit_b_1b`.
    Command: `isthmus train vadapter.vit_l_1b --output DIR`, towers named as for `vit_b_1b`
    """
    return _both(vit_l_1b, VIT_L)


def vit_g_1b() -> Recipe:
    """VAdapter with ViT-g and a language model of 1 billion.

    Paper: arXiv 2402.10896, tables 5 to 8.
    Expected: CIDEr 97.5 on COCO, 45.6 on MSR-VTT, 51.2 on VATEX; VQAv2 57.9 (zero-shot).
    Hardware: as `vit_b_1b`.
    Command: `isthmus train vadapter.vit_g_1b --output DIR`, towers named as for `vit_b_1b`
    """
    return _both(vit_g_1b, VIT_G)


def vit_g_8b() -> Recipe:
    """VAdapter with ViT-g and a language model of 8 billion.

    Paper: arXiv 2402.10896, tables 5 to 8; fewer points on COCO than with 1 billion.
    Expected: CIDEr 95.2 on COCO, 47.7 on MSR-VTT, 53.0 on VATEX; VQAv2 60.6 (zero-shot).
    Hardware: as `vit_b_1b`.
    Command: `isthmus train vadapter.vit_g_8b --output DIR`, towers named as for `vit_b_1b`
    """
    return _both(vit_g_8b, VIT_G, LLAMA_8B)


def vit_b_1b_random() -> Recipe:
    """The small model starts with fresh weights, and there is no first stage.

    Paper: arXiv 2402.10896, table 3, first row.
    Differs: what enters and leaves it has the magnitudes of a pretrained one all the same.
    Expected: CIDEr 79.2 on COCO; VQAv2 50.8.
    Hardware: as the second stage of `vit_b_1b`.
    Command: `isthmus train vadapter.vit_b_1b_random --model.vision TOWER --output DIR`
    """
    return _second_alone(vit_b_1b_random, pretrained=False)


def vit_b_1b_no_first_stage() -> Recipe:
    """The small model is an adapter as it was pretrained, and never wrote captions.

    Paper: arXiv 2402.10896, table 3, second row.
    Expected: CIDEr 81.3 on COCO; VQAv2 52.1.
    Hardware: as the second stage of `vit_b_1b`.
    Command: `isthmus train vadapter.vit_b_1b_no_first_stage --model.vision TOWER --output DIR`
    """
    return _second_alone(vit_b_1b_no_first_stage)


def vit_b_1b_pooler() -> Recipe:
    """An attentional pooler reads the patches in the second stage, too.

    Paper: arXiv 2402.10896, table 4, first row; its rows are to be compared with each other alone.
    Differs: the pooler is a fresh one, as wide as the patches; the paper does not tell.
    Expected: CIDEr 81.1 on COCO, VQAv2 53.5 (85.6 and 55.1 with the resampler of `vit_b_1b`).
    Hardware: as `vit_b_1b`.
    Command: `isthmus train vadapter.vit_b_1b_pooler --output DIR`, towers named as for `vit_b_1b`
    """
    return _both(vit_b_1b_pooler, VIT_B, resampler=shared.pooler(768))


def vit_b_1b_six_layers() -> Recipe:
    """A resampler of six layers reads the patches before the small model.

    Paper: arXiv 2402.10896, table 4, third row; its rows are to be compared with each other alone.
    Expected: CIDEr 70.3 on COCO, VQAv2 49.7 (85.6 and 55.1 with one layer).
    Hardware: as `vit_b_1b`.
    Command: `isthmus train vadapter.vit_b_1b_six_layers --output DIR`, towers named as for
        `vit_b_1b`
    """
    return _both(vit_b_1b_six_layers, VIT_B, resampler=shared.resampler(VIT_B, depth=6))


def vit_b_1b_bidirectional() -> Recipe:
    """Visual tokens see each other in both directions in the second stage.

    Paper: none; arXiv 2402.10896 does not say what they see. `vit_b_1b` is the causal twin.
    Expected: not measured.
    Hardware: as `vit_b_1b`.
    Command: `isthmus train vadapter.vit_b_1b_bidirectional --output DIR`, towers named as for
        `vit_b_1b`
    """
    return _both(vit_b_1b_bidirectional, VIT_B, attention="bidirectional")


def vit_b_1b_perceiver() -> Recipe:
    """The paper's baseline: a perceiver resampler of six layers alone, with ViT-B.

    Paper: arXiv 2402.10896, section 4.1, tables 1, 2 and 13.
    Expected: CIDEr 81.4 on COCO, 38.2 on MSR-VTT; VQAv2 52.5.
    Hardware: 512 TPU v3; time not told.
    Command: `isthmus train vadapter.vit_b_1b_perceiver --model.vision TOWER --output DIR`
    """
    return _baseline(vit_b_1b_perceiver, VIT_B, shared.perceiver())


def vit_l_1b_perceiver() -> Recipe:
    """The paper's baseline: a perceiver resampler of six layers alone, with ViT-L.

    Paper: arXiv 2402.10896, section 4.1 and table 2.
    Expected: CIDEr 82.4 on COCO, 38.2 on MSR-VTT.
    Hardware: 512 TPU v3; time not told.
    Command: `isthmus train vadapter.vit_l_1b_perceiver --model.vision TOWER --output DIR`
    """
    return _baseline(vit_l_1b_perceiver, VIT_L, shared.perceiver())


def vit_b_1b_mlp() -> Recipe:
    """The baseline of two layers: a visual token for each patch of one frame.

    Paper: arXiv 2402.10896, table 13.
    Differs: a clip is shown by its middle frame, so that it costs 256 tokens here, too; the paper
        does not say how eight frames pass an MLP.
    Expected: CIDEr 80.3 on COCO, 41.2 on MSR-VTT; VQAv2 43.4.
    Hardware: 512 TPU v3; time not told.
    Command: `isthmus train vadapter.vit_b_1b_mlp --model.vision TOWER --output DIR`
    """
    whole = _baseline(vit_b_1b_mlp, VIT_B, MLP.Config())
    (stage,) = whole.stages
    data = MixtureData(mixture=Path("vadapter_middle_frames.yaml"), lazy=True)
    model = replace(shared.joined(VIT_B, LLAMA_1B, MLP.Config()), clip_frames=1)
    return replace(whole, model=model, stages=(replace(stage, data=data),))


def siglip_b_1b() -> Recipe:
    """The open equivalent: every part can be had, and the tower is a contrastive one.

    Paper: arXiv 2402.10896, table 12, whose contrastive ViT-B learned from WebLI at 288 pixels.
    Differs: SigLIP at 256 pixels stands for it.
    Expected: not measured; the paper's has CIDEr 81.7 on COCO, 41.1 on MSR-VTT; VQAv2 48.9.
    Hardware: not measured; as `vit_b_1b` for its 512 million samples in each stage.
    Command: `isthmus train vadapter.siglip_b_1b --output DIR`
    """
    return _both(siglip_b_1b, SIGLIP_B)


def siglip_b_1b_perceiver() -> Recipe:
    """The baseline of six layers behind the contrastive tower.

    Paper: arXiv 2402.10896, table 12.
    Differs: as `siglip_b_1b`.
    Expected: not measured; the paper's has CIDEr 75.6 on COCO, 37.6 on MSR-VTT; VQAv2 43.2.
    Hardware: not measured.
    Command: `isthmus train vadapter.siglip_b_1b_perceiver --output DIR`
    """
    return _baseline(siglip_b_1b_perceiver, SIGLIP_B, shared.perceiver())


def siglip_b_1b_360m() -> Recipe:
    """The open equivalent with a small model of three times the size.

    Paper: none; arXiv 2402.10896 has one size of it.
    Expected: not measured.
    Hardware: not measured.
    Command: `isthmus train vadapter.siglip_b_1b_360m --output DIR`
    """
    return _both(siglip_b_1b_360m, SIGLIP_B, small=shared.SMOLLM2_360M)


def _both(
    function: Callable[[], Recipe],
    vision: str,
    language: str = LLAMA_1B,
    *,
    small: str = shared.SMOLLM2_135M,
    **changes: Any,
) -> Recipe:
    """Returns both stages; changes are of the second one's adapter."""
    adapter = replace(shared.adapter(vision), **changes)
    second = replace(shared.adapter_stage(), hand_over=shared.DECODER_TO_ADAPTER)
    stages = (shared.decoder_stage(vision, small), second)
    return named(function, *stages, model=shared.joined(vision, language, adapter, small))


def _second_alone(function: Callable[[], Recipe], **changes: Any) -> Recipe:
    """Returns the second stage, with nothing before it."""
    adapter = replace(shared.adapter(VIT_B), **changes)
    model = shared.joined(VIT_B, LLAMA_1B, adapter, shared.SMOLLM2_135M)
    return named(function, shared.adapter_stage(), model=model)


def _baseline(function: Callable[[], Recipe], vision: str, connector: ConnectorConfig) -> Recipe:
    model = shared.joined(vision, LLAMA_1B, connector)
    return named(function, shared.adapter_stage(), model=model)
