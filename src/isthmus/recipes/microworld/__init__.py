"""Recipes of the embedded world: everything they need comes with the package.

One file per paper. The towers were trained by `isthmus microworld build`. A vision tower that stays
frozen is run once: what it sees of a picture is kept in the feature store.
"""

from isthmus.recipes.microworld.blip2 import (
    blip2_alignment,
    blip2_captions,
    blip2_causal,
    blip2_instruct,
    blip2_minigpt4,
    blip2_t5,
    blip2_vqa,
)
from isthmus.recipes.microworld.quickstart import full, quickstart

__all__ = [
    "blip2_alignment",
    "blip2_captions",
    "blip2_causal",
    "blip2_instruct",
    "blip2_minigpt4",
    "blip2_t5",
    "blip2_vqa",
    "full",
    "quickstart",
]
