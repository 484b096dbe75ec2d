"""Recipes of the embedded world: everything they need comes with the package.

One file per paper. The towers were trained by `isthmus microworld build`. A vision tower that stays
frozen is run once: what it sees of a picture is kept in the feature store.
"""

from isthmus.recipes.microworld.baselines import (
    anymal,
    flamingo,
    frozen_linear,
    idefics,
)
from isthmus.recipes.microworld.blip2 import (
    blip2_alignment,
    blip2_captions,
    blip2_causal,
    blip2_instruct,
    blip2_instructions,
    blip2_minigpt4,
    blip2_t5,
    blip2_vqa,
)
from isthmus.recipes.microworld.cogvlm import (
    cogvlm,
    cogvlm_adapter,
    cogvlm_ema,
    cogvlm_full_mask,
    cogvlm_grounding,
    cogvlm_language_model,
    cogvlm_random,
)
from isthmus.recipes.microworld.honeybee import (
    honeybee_c_abstractor,
    honeybee_c_abstractor_clips,
    honeybee_c_abstractor_m4,
    honeybee_c_abstractor_m64,
    honeybee_d_abstractor,
    honeybee_resampler,
    llava,
)
from isthmus.recipes.microworld.prismatic import (
    llava_1_5,
    llava_1_5_grounding,
    prismatic,
    prismatic_base,
    prismatic_dinov2,
    prismatic_fused,
    prismatic_more_data,
    prismatic_thawed,
    prismatic_two_epochs,
    prismatic_vit,
)
from isthmus.recipes.microworld.quickstart import (
    full,
    quickstart,
)
from isthmus.recipes.microworld.vadapter import (
    vadapter,
    vadapter_clips,
    vadapter_large,
    vadapter_large_tower,
    vadapter_no_first_stage,
    vadapter_perceiver,
    vadapter_random,
)

__all__ = [
    "anymal",
    "blip2_alignment",
    "blip2_captions",
    "blip2_causal",
    "blip2_instruct",
    "blip2_instructions",
    "blip2_minigpt4",
    "blip2_t5",
    "blip2_vqa",
    "cogvlm",
    "cogvlm_adapter",
    "cogvlm_ema",
    "cogvlm_full_mask",
    "cogvlm_grounding",
    "cogvlm_language_model",
    "cogvlm_random",
    "flamingo",
    "frozen_linear",
    "full",
    "honeybee_c_abstractor",
    "honeybee_c_abstractor_clips",
    "honeybee_c_abstractor_m4",
    "honeybee_c_abstractor_m64",
    "honeybee_d_abstractor",
    "honeybee_resampler",
    "idefics",
    "llava",
    "llava_1_5",
    "llava_1_5_grounding",
    "prismatic",
    "prismatic_base",
    "prismatic_dinov2",
    "prismatic_fused",
    "prismatic_more_data",
    "prismatic_thawed",
    "prismatic_two_epochs",
    "prismatic_vit",
    "quickstart",
    "vadapter",
    "vadapter_clips",
    "vadapter_large",
    "vadapter_large_tower",
    "vadapter_no_first_stage",
    "vadapter_perceiver",
    "vadapter_random",
]
