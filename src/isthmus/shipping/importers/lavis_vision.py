"""LAVIS (salesforce/LAVIS): its EVA-CLIP g, whose last block it leaves out.

Paper: BLIP-2, arXiv 2301.12597, section 3.3.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from isthmus.keys import KeyMap, Pair

HEAD_WIDTH = 88
"""Width of an attention head, which is in no file."""
NORM_EPS = 1e-6
"""Epsilon of the norms, which is in none either."""
PREFIX = "visual_encoder."
"""Where the tower lies in a whole model; a file of the tower alone has it not."""

_BLOCK = "blocks.*"
_LAYER = "encoder.layers.*"
PAIRS: tuple[Pair, ...] = (
    ("cls_token", "embeddings.class_embedding"),
    ("pos_embed", "embeddings.position_embedding"),
    ("patch_embed.proj.*", "embeddings.patch_embedding.*"),
    (f"{_BLOCK}.norm1.*", f"{_LAYER}.layer_norm1.*"),
    (f"{_BLOCK}.norm2.*", f"{_LAYER}.layer_norm2.*"),
    (f"{_BLOCK}.attn.qkv.*", f"{_LAYER}.self_attn.qkv.*"),
    (f"{_BLOCK}.attn.proj.*", f"{_LAYER}.self_attn.projection.*"),
    (f"{_BLOCK}.mlp.*.*", f"{_LAYER}.mlp.*.*"),
)
"""Names in LAVIS, and in `Blip2VisionModel`."""
BIASES = tuple(f"{_BLOCK}.attn.{part}_bias" for part in "qkv")
"""Parts of `attn.qkv`; LAVIS has no `k_bias`."""
_NAMES = KeyMap(PAIRS, stacked=((f"{_BLOCK}.attn.qkv.bias", BIASES),))


def to_ours(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns the tower's weights by the names of `Blip2VisionModel`.

    Keys have no bias there, and one of zeros here.

    Args:
        weights: by LAVIS's names, without the prefix.
    """
    keys = {
        name.replace("q_bias", "k_bias"): torch.zeros_like(value)
        for name, value in weights.items()
        if name.endswith(".q_bias")
    }
    return _NAMES.to_ours({**weights, **keys})


def to_theirs(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns the weights of a `Blip2VisionModel` by LAVIS's names, without the prefix.

    The bias of keys is left out: it adds the same to the score of each key that a query sees, which
    the softmax takes away again.
    """
    named = _NAMES.to_theirs(weights)
    return {name: value for name, value in named.items() if not name.endswith(".k_bias")}


def settings(weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """Returns the fields of a `Blip2VisionConfig` that weights by LAVIS's names tell.

    Raises:
        ValueError: the tower is of no such kind; the weight that tells is named.
    """
    for name in ("patch_embed.proj.weight", "pos_embed", "blocks.0.mlp.fc1.weight"):
        if name not in weights:
            raise ValueError(f"the vision tower lacks {name!r}; expected LAVIS's EVA-CLIP g")
    width, _, patch, _ = weights["patch_embed.proj.weight"].shape
    if width % HEAD_WIDTH:
        raise ValueError(
            f"patch_embed.proj.weight is {width} wide; expected a multiple of {HEAD_WIDTH}, the "
            "width of a head of EVA-CLIP g"
        )
    side = round((weights["pos_embed"].shape[1] - 1) ** 0.5)
    return {
        "hidden_size": width,
        "intermediate_size": len(weights["blocks.0.mlp.fc1.weight"]),
        "num_hidden_layers": 1 + max(int(n.split(".")[1]) for n in weights if n[:7] == "blocks."),
        "num_attention_heads": width // HEAD_WIDTH,
        "image_size": side * patch,
        "patch_size": patch,
        "layer_norm_eps": NORM_EPS,
    }
