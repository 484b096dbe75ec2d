"""Prismatic VLMs: what matters between a vision tower and a language model, a function a row.

Karamcheti et al., arXiv 2402.07865 (ICML 2024). LLaVA-1.5 is trained again, in two stages and in
one; each further row changes what its name says in `one_stage_7b`, and nothing else. The models
that were built from what was found are in prism.py; what all share is in _prismatic.py.

Data lie as the published code downloads them; run in its folder `data/download`, or name yours.
Hours by a plan are what `isthmus plan` says with `--devices 8` and 300 tokens of text in a sample
(`--text-tokens`), or 32 in a caption.

Differs: a picture stands in the question, where the data have it; the published code puts it behind
the begin token. Batches mix samples with and without pictures; there each is of one kind. What is
longer than the language model takes is left out, not cut at 2,048 tokens. Captions are asked for;
there the question is dropped. No row is added to the language model's embeddings. SigLIP keeps the
approximate GELU of its configuration, where timm builds an exact one. Padding has the first tower's
mean colour; there each of two towers has its own.
"""

from isthmus.recipes._prismatic import (
    CLIP_224,
    DINOCLIP_336,
    DINOSIGLIP_384,
    DINOV2_224,
    IN1K_224,
    LLAMA2_7B,
    LLAMA2_13B,
    LLAMA2_CHAT_7B,
    LLAMA2_CHAT_13B,
    LRV,
    LVIS4V,
    LVIS4V_LRV,
    MISTRAL,
    MISTRAL_INSTRUCT,
    NO_TEXT,
    PHI2,
    SIGLIP_224,
    SIGLIP_384,
    VICUNA_13B,
    row,
)
from isthmus.training.stage import Recipe


def two_stage_7b() -> Recipe:
    """LLaVA-1.5 7B, trained again: the connector learns from captions before.

    Paper: arXiv 2402.07865, section 4; `reproduction-llava-v15+7b` in its code.
    Expected: VQAv2 76.80, GQA 62.28, VizWiz 51.26, TextVQA 46.44, RefCOCO 60.54, POPE 86.57.
    Hardware: 8 A100 of 80 GB, 11.3 hours (figure 4, at second hand).
    Command: `isthmus train prismatic.two_stage_7b --output DIR`
    """
    return row(two_stage_7b, aligned=True)


def two_stage_13b() -> Recipe:
    """LLaVA-1.5 13B, trained again: the connector learns from captions before.

    Paper: arXiv 2402.07865, section 4; `reproduction-llava-v15+13b` in its code.
    Expected: VQAv2 77.78, GQA 62.91, VizWiz 54.83, TextVQA 48.74, RefCOCO 64.79, POPE 86.94.
    Hardware: 8 A100 of 80 GB, 20.2 hours (figure 4, at second hand).
    Command: `isthmus train prismatic.two_stage_13b --output DIR`
    """
    return row(two_stage_13b, language=VICUNA_13B, aligned=True)


def one_stage_7b() -> Recipe:
    """LLaVA-1.5 7B without its first stage: what every other row starts from.

    Paper: arXiv 2402.07865, section 4.1; `one-stage+7b` in its code.
    Expected: VQAv2 77.09, GQA 62.57, VizWiz 54.33, TextVQA 44.45, RefCOCO 64.08, POPE 86.57.
    Hardware: 8 A100 of 80 GB, 8.6 hours (figure 4, at second hand).
    Command: `isthmus train prismatic.one_stage_7b --output DIR`
    """
    return row(one_stage_7b)


def one_stage_13b() -> Recipe:
    """LLaVA-1.5 13B without its first stage.

    Paper: arXiv 2402.07865, section 4.1; `one-stage+13b` in its code.
    Expected: VQAv2 77.96, GQA 63.17, VizWiz 56.37, TextVQA 48.03, RefCOCO 68.98, POPE 87.00.
    Hardware: 8 A100 of 80 GB, 15.4 hours (figure 4, at second hand).
    Command: `isthmus train prismatic.one_stage_13b --output DIR`
    """
    return row(one_stage_13b, language=VICUNA_13B)


def thawed_two_stage_7b() -> Recipe:
    """The vision tower learns with the language model, after a stage of captions.

    Paper: arXiv 2402.07865, section 4.1; `full-ft-multi-stage+7b` in its code.
    Expected: VQAv2 74.36, GQA 60.08, VizWiz 57.27, TextVQA 44.40, RefCOCO 19.24, POPE 82.70.
    Hardware: 8 A100 of 80 GB; 12 hours by a plan.
    Command: `isthmus train prismatic.thawed_two_stage_7b --output DIR`
    """
    return row(thawed_two_stage_7b, aligned=True, thawed=True)


def thawed_one_stage_7b() -> Recipe:
    """The vision tower learns with the language model from the start.

    Paper: arXiv 2402.07865, section 4.1; `full-ft-one-stage+7b` in its code.
    Expected: VQAv2 73.53, GQA 59.65, VizWiz 55.26, TextVQA 38.33, RefCOCO 42.56, POPE 83.82.
    Hardware: 8 A100 of 80 GB; 8.5 hours by a plan.
    Command: `isthmus train prismatic.thawed_one_stage_7b --output DIR`
    """
    return row(thawed_one_stage_7b, thawed=True)


def in1k_224_7b() -> Recipe:
    """Towers at 224 pixels: a ViT-L/16 that learned ImageNet's classes.

    Paper: arXiv 2402.07865, section 4.2; `in1k-224px+7b` in its code.
    Differs: the published code takes timm's weights, which may be of another training; pictures are
        resized bilinearly, as the processor of these asks.
    Expected: VQAv2 68.26, GQA 56.82, VizWiz 49.61, TextVQA 12.31, RefCOCO 43.24, POPE 82.08.
    Hardware: 8 A100 of 80 GB; 4.6 hours by a plan.
    Command: `isthmus train prismatic.in1k_224_7b --output DIR`
    """
    return row(in1k_224_7b, towers=IN1K_224)


def dinov2_224_7b() -> Recipe:
    """Towers at 224 pixels: DINOv2 ViT-L/14 with registers.

    Paper: arXiv 2402.07865, section 4.2; `dinov2-224px+7b` in its code.
    Expected: VQAv2 66.29, GQA 55.64, VizWiz 48.37, TextVQA 12.62, RefCOCO 28.65, POPE 84.84.
    Hardware: 8 A100 of 80 GB; 5.2 hours by a plan.
    Command: `isthmus train prismatic.dinov2_224_7b --output DIR`
    """
    return row(dinov2_224_7b, towers=DINOV2_224)


def clip_224_7b() -> Recipe:
    """Towers at 224 pixels: CLIP ViT-L/14.

    Paper: arXiv 2402.07865, section 4.2; `clip-224px+7b` in its code.
    Expected: VQAv2 75.32, GQA 61.58, VizWiz 54.52, TextVQA 36.61, RefCOCO 59.88, POPE 85.80.
    Hardware: 8 A100 of 80 GB; 5.2 hours by a plan.
    Command: `isthmus train prismatic.clip_224_7b --output DIR`
    """
    return row(clip_224_7b, towers=CLIP_224)


def siglip_224_7b() -> Recipe:
    """Towers at 224 pixels: SigLIP SO400M/14.

    Paper: arXiv 2402.07865, section 4.2; `siglip-224px+7b` in its code.
    Expected: VQAv2 76.32, GQA 62.15, VizWiz 58.82, TextVQA 40.50, RefCOCO 57.94, POPE 85.07.
    Hardware: 8 A100 of 80 GB; 5.2 hours by a plan.
    Command: `isthmus train prismatic.siglip_224_7b --output DIR`
    """
    return row(siglip_224_7b, towers=SIGLIP_224)


def clip_336_crop_7b() -> Recipe:
    """CLIP at 336 pixels sees the middle of a picture.

    Paper: arXiv 2402.07865, section 4.2; `clip-336px-resize-crop+7b` in its code.
    Expected: VQAv2 77.07, GQA 62.29, VizWiz 58.15, TextVQA 48.83, RefCOCO 54.31, POPE 85.42.
    Hardware: 8 A100 of 80 GB; 8.3 hours by a plan.
    Command: `isthmus train prismatic.clip_336_crop_7b --output DIR`
    """
    return row(clip_336_crop_7b, resize="crop")


def clip_336_naive_7b() -> Recipe:
    """CLIP at 336 pixels sees a picture stretched.

    Paper: arXiv 2402.07865, section 4.2; `clip-336px-resize-naive+7b` in its code.
    Expected: VQAv2 77.86, GQA 63.48, VizWiz 56.03, TextVQA 49.66, RefCOCO 65.28, POPE 87.01.
    Hardware: 8 A100 of 80 GB; 8.3 hours by a plan.
    Command: `isthmus train prismatic.clip_336_naive_7b --output DIR`
    """
    return row(clip_336_naive_7b, resize="naive")


def siglip_384_letterbox_7b() -> Recipe:
    """SigLIP at 384 pixels sees a picture padded.

    Paper: arXiv 2402.07865, section 4.2; `siglip-384px-letterbox+7b` in its code.
    Expected: VQAv2 78.61, GQA 63.39, VizWiz 56.88, TextVQA 52.71, RefCOCO 63.09, POPE 86.78.
    Hardware: 8 A100 of 80 GB; 9.9 hours by a plan.
    Command: `isthmus train prismatic.siglip_384_letterbox_7b --output DIR`
    """
    return row(siglip_384_letterbox_7b, towers=SIGLIP_384)


def siglip_384_crop_7b() -> Recipe:
    """SigLIP at 384 pixels sees the middle of a picture.

    Paper: arXiv 2402.07865, section 4.2; `siglip-384px-resize-crop+7b` in its code.
    Expected: VQAv2 77.57, GQA 62.23, VizWiz 58.10, TextVQA 50.41, RefCOCO 53.29, POPE 84.62.
    Hardware: 8 A100 of 80 GB; 9.9 hours by a plan.
    Command: `isthmus train prismatic.siglip_384_crop_7b --output DIR`
    """
    return row(siglip_384_crop_7b, towers=SIGLIP_384, resize="crop")


def siglip_384_naive_7b() -> Recipe:
    """SigLIP at 384 pixels sees a picture stretched.

    Paper: arXiv 2402.07865, section 4.2; `siglip-384px-resize-naive+7b` in its code.
    Expected: VQAv2 78.81, GQA 63.60, VizWiz 57.47, TextVQA 54.87, RefCOCO 61.38, POPE 86.52.
    Hardware: 8 A100 of 80 GB; 9.9 hours by a plan.
    Command: `isthmus train prismatic.siglip_384_naive_7b --output DIR`
    """
    return row(siglip_384_naive_7b, towers=SIGLIP_384, resize="naive")


def dinoclip_336_letterbox_7b() -> Recipe:
    """DINOv2 and CLIP side by side, pictures padded.

    Paper: arXiv 2402.07865, section 4.2; `dinoclip-336px-letterbox+7b` in its code.
    Expected: VQAv2 75.66, GQA 62.89, VizWiz 53.88, TextVQA 15.16, RefCOCO 72.44, POPE 87.70.
    Hardware: 8 A100 of 80 GB; 8.4 hours by a plan.
    Command: `isthmus train prismatic.dinoclip_336_letterbox_7b --output DIR`
    """
    return row(dinoclip_336_letterbox_7b, towers=DINOCLIP_336)


def dinoclip_336_naive_7b() -> Recipe:
    """DINOv2 and CLIP side by side, pictures stretched.

    Paper: arXiv 2402.07865, section 4.2; `dinoclip-336px-resize-naive+7b` in its code.
    Expected: VQAv2 75.90, GQA 63.57, VizWiz 55.31, TextVQA 15.67, RefCOCO 71.07, POPE 87.29.
    Hardware: 8 A100 of 80 GB; 8.4 hours by a plan.
    Command: `isthmus train prismatic.dinoclip_336_naive_7b --output DIR`
    """
    return row(dinoclip_336_naive_7b, towers=DINOCLIP_336, resize="naive")


def dinosiglip_384_letterbox_7b() -> Recipe:
    """DINOv2 and SigLIP side by side, pictures padded.

    Paper: arXiv 2402.07865, section 4.2; `dinosiglip-384px-letterbox+7b` in its code.
    Expected: VQAv2 78.66, GQA 63.81, VizWiz 59.00, TextVQA 50.11, RefCOCO 72.10, POPE 87.89.
    Hardware: 8 A100 of 80 GB; 10 hours by a plan.
    Command: `isthmus train prismatic.dinosiglip_384_letterbox_7b --output DIR`
    """
    return row(dinosiglip_384_letterbox_7b, towers=DINOSIGLIP_384)


def dinosiglip_384_naive_7b() -> Recipe:
    """DINOv2 and SigLIP side by side, pictures stretched.

    Paper: arXiv 2402.07865, section 4.2; `dinosiglip-384px-resize-naive+7b` in its code.
    Expected: VQAv2 79.18, GQA 64.33, VizWiz 61.06, TextVQA 52.18, RefCOCO 73.86, POPE 88.30.
    Hardware: 8 A100 of 80 GB; 10 hours by a plan.
    Command: `isthmus train prismatic.dinosiglip_384_naive_7b --output DIR`
    """
    return row(dinosiglip_384_naive_7b, towers=DINOSIGLIP_384, resize="naive")


def llama2_7b() -> Recipe:
    """Llama-2 7B in place of Vicuna, a base model.

    Paper: arXiv 2402.07865, section 4.3; `llama2+7b` in its code.
    Expected: VQAv2 77.08, GQA 62.44, VizWiz 55.98, TextVQA 44.92, RefCOCO 65.24, POPE 86.74.
    Hardware: 8 A100 of 80 GB; 8.3 hours by a plan.
    Command: `isthmus train prismatic.llama2_7b --output DIR`
    """
    return row(llama2_7b, language=LLAMA2_7B)


def llama2_13b() -> Recipe:
    """Llama-2 13B in place of Vicuna, a base model.

    Paper: arXiv 2402.07865, section 4.3; `llama2+13b` in its code.
    Expected: VQAv2 78.07, GQA 63.12, VizWiz 57.55, TextVQA 47.60, RefCOCO 68.53, POPE 86.91.
    Hardware: 8 A100 of 80 GB; 16 hours by a plan.
    Command: `isthmus train prismatic.llama2_13b --output DIR`
    """
    return row(llama2_13b, language=LLAMA2_13B)


def llama2_chat_7b() -> Recipe:
    """Llama-2 Chat 7B in place of Vicuna.

    Paper: arXiv 2402.07865, section 4.3; `llama2-chat+7b` in its code.
    Differs: no system text is added; the published form has one, whose opening tag is mistyped.
    Expected: not in the paper's tables.
    Hardware: 8 A100 of 80 GB; 8.3 hours by a plan.
    Command: `isthmus train prismatic.llama2_chat_7b --output DIR`
    """
    return row(llama2_chat_7b, language=LLAMA2_CHAT_7B)


def llama2_chat_13b() -> Recipe:
    """Llama-2 Chat 13B in place of Vicuna.

    Paper: arXiv 2402.07865, section 4.3; `llama2-chat+13b` in its code.
    Differs: as `llama2_chat_7b`.
    Expected: not in the paper's tables.
    Hardware: 8 A100 of 80 GB; 16 hours by a plan.
    Command: `isthmus train prismatic.llama2_chat_13b --output DIR`
    """
    return row(llama2_chat_13b, language=LLAMA2_CHAT_13B)


def mistral_7b() -> Recipe:
    """Mistral 7B v0.1 in place of Vicuna, a base model.

    Paper: arXiv 2402.07865, section 4.3; `mistral-v0.1+7b` in its code.
    Expected: VQAv2 77.30, GQA 63.30, VizWiz 55.32, TextVQA 44.40, RefCOCO 71.10, POPE 87.10.
    Hardware: 8 A100 of 80 GB; 8.8 hours by a plan.
    Command: `isthmus train prismatic.mistral_7b --output DIR`
    """
    return row(mistral_7b, language=MISTRAL)


def mistral_instruct_7b() -> Recipe:
    """Mistral 7B Instruct v0.1 in place of Vicuna.

    Paper: arXiv 2402.07865, section 4.3; `mistral-instruct-v0.1+7b` in its code.
    Expected: VQAv2 77.13, GQA 62.71, VizWiz 54.35, TextVQA 44.10, RefCOCO 70.59, POPE 87.50.
    Hardware: 8 A100 of 80 GB; 8.8 hours by a plan.
    Command: `isthmus train prismatic.mistral_instruct_7b --output DIR`
    """
    return row(mistral_instruct_7b, language=MISTRAL_INSTRUCT)


def phi2_3b() -> Recipe:
    """Phi-2 in place of Vicuna, a base model of 2.8 billion weights.

    Paper: arXiv 2402.07865, section 4.3; `phi-2+3b` in its code.
    Expected: not in the paper's tables.
    Hardware: 8 A100 of 80 GB; 3.5 hours by a plan.
    Command: `isthmus train prismatic.phi2_3b --output DIR`
    """
    return row(phi2_3b, language=PHI2)


def vicuna_no_text_7b() -> Recipe:
    """Vicuna without the conversations that have no picture.

    Paper: arXiv 2402.07865, section 4.3; `vicuna-no-cotraining+7b` in its code.
    Expected: VQAv2 77.08, GQA 62.90, VizWiz 44.81, TextVQA 44.55, RefCOCO 63.94, POPE 87.27.
    Hardware: 8 A100 of 80 GB; 7.8 hours by a plan.
    Command: `isthmus train prismatic.vicuna_no_text_7b --output DIR`
    """
    return row(vicuna_no_text_7b, data=NO_TEXT)


def llama2_no_text_7b() -> Recipe:
    """Llama-2 without the conversations that have no picture.

    Paper: arXiv 2402.07865, section 4.3; `llama2-no-cotraining+7b` in its code.
    Expected: VQAv2 77.10, GQA 62.94, VizWiz 43.60, TextVQA 45.45, RefCOCO 64.26, POPE 86.88.
    Hardware: 8 A100 of 80 GB; 7.8 hours by a plan.
    Command: `isthmus train prismatic.llama2_no_text_7b --output DIR`
    """
    return row(llama2_no_text_7b, language=LLAMA2_7B, data=NO_TEXT)


def epochs_1_25_7b() -> Recipe:
    """Longer training: 6,500 steps, 1.25 passes over the data.

    Paper: arXiv 2402.07865, section 4.4; `train-1.25-epochs+7b` in its code.
    Expected: VQAv2 77.30, GQA 62.70, VizWiz 57.28, TextVQA 45.44, RefCOCO 67.02, POPE 86.80.
    Hardware: 8 A100 of 80 GB; 10 hours by a plan.
    Command: `isthmus train prismatic.epochs_1_25_7b --output DIR`
    """
    return row(epochs_1_25_7b, steps=6500)


def epochs_1_5_7b() -> Recipe:
    """Longer training: 7,800 steps, 1.5 passes over the data.

    Paper: arXiv 2402.07865, section 4.4; `train-1.5-epochs+7b` in its code.
    Expected: VQAv2 77.54, GQA 62.75, VizWiz 56.37, TextVQA 45.63, RefCOCO 68.62, POPE 87.78.
    Hardware: 8 A100 of 80 GB; 13 hours by a plan.
    Command: `isthmus train prismatic.epochs_1_5_7b --output DIR`
    """
    return row(epochs_1_5_7b, steps=7800)


def epochs_2_7b() -> Recipe:
    """Longer training: two passes over the data.

    Paper: arXiv 2402.07865, section 4.4; `train-2-epochs+7b` in its code.
    Expected: VQAv2 77.79, GQA 63.50, VizWiz 55.20, TextVQA 46.08, RefCOCO 71.23, POPE 87.03.
    Hardware: 8 A100 of 80 GB; 17 hours by a plan.
    Command: `isthmus train prismatic.epochs_2_7b --output DIR`
    """
    return row(epochs_2_7b, epochs=2)


def epochs_3_7b() -> Recipe:
    """Longer training: three passes over the data.

    Paper: arXiv 2402.07865, section 4.4; `train-3-epochs+7b` in its code.
    Expected: VQAv2 77.17, GQA 62.96, VizWiz 56.20, TextVQA 45.69, RefCOCO 71.79, POPE 86.86.
    Hardware: 8 A100 of 80 GB; 25 hours by a plan.
    Command: `isthmus train prismatic.epochs_3_7b --output DIR`
    """
    return row(epochs_3_7b, epochs=3)


def lvis4v_7b() -> Recipe:
    """More data: with LVIS-Instruct-4V.

    Paper: arXiv 2402.07865, section 4.4; `llava-lvis4v+7b` in its code.
    Expected: VQAv2 77.96, GQA 62.43, VizWiz 55.91, TextVQA 45.99, RefCOCO 63.91, POPE 86.98.
    Hardware: 8 A100 of 80 GB; 11 hours by a plan.
    Command: `isthmus train prismatic.lvis4v_7b --output DIR`
    """
    return row(lvis4v_7b, data=LVIS4V)


def lrv_7b() -> Recipe:
    """More data: with LRV-Instruct.

    Paper: arXiv 2402.07865, section 4.4; `llava-lrv+7b` in its code.
    Expected: VQAv2 77.58, GQA 63.13, VizWiz 55.76, TextVQA 45.67, RefCOCO 65.62, POPE 86.84.
    Hardware: 8 A100 of 80 GB; 13 hours by a plan.
    Command: `isthmus train prismatic.lrv_7b --output DIR`
    """
    return row(lrv_7b, data=LRV)


def lvis4v_lrv_7b() -> Recipe:
    """More data: with LVIS-Instruct-4V and LRV-Instruct.

    Paper: arXiv 2402.07865, section 4.4; `llava-lvis4v-lrv+7b` in its code.
    Expected: VQAv2 78.33, GQA 63.60, VizWiz 56.01, TextVQA 46.86, RefCOCO 64.94, POPE 87.27.
    Hardware: 8 A100 of 80 GB; 15 hours by a plan.
    Command: `isthmus train prismatic.lvis4v_lrv_7b --output DIR`
    """
    return row(lvis4v_lrv_7b, data=LVIS4V_LRV)
