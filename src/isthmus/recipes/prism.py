"""Prism: the models that Prismatic VLMs were led to by what they found.

Karamcheti et al., arXiv 2402.07865 (ICML 2024), section 5: no first stage, pictures stretched, a
base language model, and in the full form two passes over more data. The controlled form has the
data and the time of LLaVA-1.5. The study behind them is in prismatic.py, whose `Differs:` hold
here, too; so does what it says of hours.
"""

from collections.abc import Callable

from isthmus.recipes._prismatic import (
    CLIP_336,
    DINOSIGLIP_224,
    DINOSIGLIP_384,
    LLAMA2_7B,
    LLAMA2_13B,
    LVIS4V_LRV,
    SIGLIP_384,
    Language,
    Towers,
    row,
)
from isthmus.training.stage import Recipe


def clip_7b_controlled() -> Recipe:
    """Prism-CLIP 7B on the data and for the time of LLaVA-1.5.

    Paper: arXiv 2402.07865, section 5; `prism-clip-controlled+7b` in its code.
    Expected: VQAv2 77.87, GQA 63.65, VizWiz 56.10, TextVQA 50.31, RefCOCO 66.42, POPE 86.83.
    Hardware: 8 A100 of 80 GB; 8.3 hours by a plan.
    Command: `isthmus train prism.clip_7b_controlled --output DIR`
    """
    return _controlled(clip_7b_controlled, CLIP_336, LLAMA2_7B)


def clip_7b() -> Recipe:
    """Prism-CLIP 7B, two passes over all instruction data.

    Paper: arXiv 2402.07865, section 5; `prism-clip+7b` in its code.
    Expected: VQAv2 79.67, GQA 64.56, VizWiz 53.34, TextVQA 51.12, RefCOCO 71.98, POPE 87.30.
    Hardware: 8 A100 of 80 GB; 31 hours by a plan, 3.7 times its controlled form's steps.
    Command: `isthmus train prism.clip_7b --output DIR`
    """
    return _full(clip_7b, CLIP_336, LLAMA2_7B)


def clip_13b_controlled() -> Recipe:
    """Prism-CLIP 13B on the data and for the time of LLaVA-1.5.

    Paper: arXiv 2402.07865, section 5; `prism-clip-controlled+13b` in its code.
    Expected: VQAv2 78.83, GQA 64.10, VizWiz 57.09, TextVQA 52.22, RefCOCO 70.92, POPE 86.96.
    Hardware: 8 A100 of 80 GB; 16 hours by a plan.
    Command: `isthmus train prism.clip_13b_controlled --output DIR`
    """
    return _controlled(clip_13b_controlled, CLIP_336, LLAMA2_13B)


def clip_13b() -> Recipe:
    """Prism-CLIP 13B, two passes over all instruction data.

    Paper: arXiv 2402.07865, section 5; `prism-clip+13b` in its code.
    Expected: VQAv2 80.38, GQA 65.07, VizWiz 56.47, TextVQA 53.40, RefCOCO 73.37, POPE 87.23.
    Hardware: 8 A100 of 80 GB; 60 hours by a plan, 3.7 times its controlled form's steps.
    Command: `isthmus train prism.clip_13b --output DIR`
    """
    return _full(clip_13b, CLIP_336, LLAMA2_13B)


def siglip_7b_controlled() -> Recipe:
    """Prism-SigLIP 7B on the data and for the time of LLaVA-1.5.

    Paper: arXiv 2402.07865, section 5; `prism-siglip-controlled+7b` in its code.
    Expected: VQAv2 79.12, GQA 63.98, VizWiz 58.99, TextVQA 55.79, RefCOCO 64.74, POPE 87.07.
    Hardware: 8 A100 of 80 GB; 9.9 hours by a plan.
    Command: `isthmus train prism.siglip_7b_controlled --output DIR`
    """
    return _controlled(siglip_7b_controlled, SIGLIP_384, LLAMA2_7B)


def siglip_7b() -> Recipe:
    """Prism-SigLIP 7B, two passes over all instruction data.

    Paper: arXiv 2402.07865, section 5; `prism-siglip+7b` in its code.
    Expected: VQAv2 80.67, GQA 64.32, VizWiz 53.70, TextVQA 58.01, RefCOCO 70.92, POPE 87.30.
    Hardware: 8 A100 of 80 GB; 37 hours by a plan, 3.7 times its controlled form's steps.
    Command: `isthmus train prism.siglip_7b --output DIR`
    """
    return _full(siglip_7b, SIGLIP_384, LLAMA2_7B)


def siglip_13b_controlled() -> Recipe:
    """Prism-SigLIP 13B on the data and for the time of LLaVA-1.5.

    Paper: arXiv 2402.07865, section 5; `prism-siglip-controlled+13b` in its code.
    Expected: VQAv2 78.52, GQA 63.24, VizWiz 57.29, TextVQA 50.61, RefCOCO 59.21, POPE 86.82.
    Hardware: 8 A100 of 80 GB; 19 hours by a plan.
    Command: `isthmus train prism.siglip_13b_controlled --output DIR`
    """
    return _controlled(siglip_13b_controlled, SIGLIP_384, LLAMA2_13B)


def siglip_13b() -> Recipe:
    """Prism-SigLIP 13B, two passes over all instruction data.

    Paper: arXiv 2402.07865, section 5; `prism-siglip+13b` in its code.
    Differs: the configuration of the published run names CLIP, which its scores may be those of.
    Expected: VQAv2 80.68, GQA 64.56, VizWiz 57.63, TextVQA 54.28, RefCOCO 69.69, POPE 87.50.
    Hardware: 8 A100 of 80 GB; 71 hours by a plan, 3.7 times its controlled form's steps.
    Command: `isthmus train prism.siglip_13b --output DIR`
    """
    return _full(siglip_13b, SIGLIP_384, LLAMA2_13B)


def dinosiglip_7b_controlled() -> Recipe:
    """Prism-DINOSigLIP 7B on the data and for the time of LLaVA-1.5.

    Paper: arXiv 2402.07865, section 5; `prism-dinosiglip-controlled+7b` in its code.
    Expected: VQAv2 79.05, GQA 64.16, VizWiz 59.82, TextVQA 51.78, RefCOCO 73.62, POPE 88.28.
    Hardware: 8 A100 of 80 GB, 8.8 hours (figure 1, at second hand).
    Command: `isthmus train prism.dinosiglip_7b_controlled --output DIR`
    """
    return _controlled(dinosiglip_7b_controlled, DINOSIGLIP_384, LLAMA2_7B)


def dinosiglip_7b() -> Recipe:
    """Prism-DINOSigLIP 7B, two passes over all instruction data.

    Paper: arXiv 2402.07865, section 5; `prism-dinosiglip+7b` in its code.
    Expected: VQAv2 80.97, GQA 65.27, VizWiz 52.82, TextVQA 55.64, RefCOCO 77.78, POPE 88.12.
    Hardware: 8 A100 of 80 GB; 37 hours by a plan, 3.7 times its controlled form's steps.
    Command: `isthmus train prism.dinosiglip_7b --output DIR`
    """
    return _full(dinosiglip_7b, DINOSIGLIP_384, LLAMA2_7B)


def dinosiglip_13b_controlled() -> Recipe:
    """Prism-DINOSigLIP 13B on the data and for the time of LLaVA-1.5.

    Paper: arXiv 2402.07865, section 5; `prism-dinosiglip-controlled+13b` in its code.
    Expected: VQAv2 80.07, GQA 65.14, VizWiz 56.61, TextVQA 54.10, RefCOCO 76.64, POPE 88.50.
    Hardware: 8 A100 of 80 GB, 15.8 hours (figure 1, at second hand).
    Command: `isthmus train prism.dinosiglip_13b_controlled --output DIR`
    """
    return _controlled(dinosiglip_13b_controlled, DINOSIGLIP_384, LLAMA2_13B)


def dinosiglip_13b() -> Recipe:
    """Prism-DINOSigLIP 13B, two passes over all instruction data.

    Paper: arXiv 2402.07865, section 5; `prism-dinosiglip+13b` in its code.
    Expected: VQAv2 81.66, GQA 66.13, VizWiz 58.01, TextVQA 57.08, RefCOCO 79.39, POPE 88.07.
    Hardware: 8 A100 of 80 GB; 71 hours by a plan, 3.7 times its controlled form's steps.
    Command: `isthmus train prism.dinosiglip_13b --output DIR`
    """
    return _full(dinosiglip_13b, DINOSIGLIP_384, LLAMA2_13B)


def dinosiglip_224_7b_controlled() -> Recipe:
    """Prism-DINOSigLIP at 224 pixels, 7B on the data and for the time of LLaVA-1.5.

    Paper: arXiv 2402.07865, section 5; `prism-dinosiglip-224px-controlled+7b` in its code.
    Expected: not in the paper's tables.
    Hardware: 8 A100 of 80 GB; 5.3 hours by a plan.
    Command: `isthmus train prism.dinosiglip_224_7b_controlled --output DIR`
    """
    return _controlled(dinosiglip_224_7b_controlled, DINOSIGLIP_224, LLAMA2_7B)


def dinosiglip_224_7b() -> Recipe:
    """Prism-DINOSigLIP at 224 pixels, 7B, two passes over all instruction data.

    Paper: arXiv 2402.07865, section 5; `prism-dinosiglip-224px+7b` in its code.
    Expected: not in the paper's tables.
    Hardware: 8 A100 of 80 GB; 19 hours by a plan, 3.7 times its controlled form's steps.
    Command: `isthmus train prism.dinosiglip_224_7b --output DIR`
    """
    return _full(dinosiglip_224_7b, DINOSIGLIP_224, LLAMA2_7B)


def _controlled(function: Callable[[], Recipe], towers: Towers, language: Language) -> Recipe:
    return row(function, towers=towers, resize="naive", language=language)


def _full(function: Callable[[], Recipe], towers: Towers, language: Language) -> Recipe:
    return row(
        function, towers=towers, resize="naive", language=language, data=LVIS4V_LRV, epochs=2
    )
