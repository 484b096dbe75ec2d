"""CogVLM, as its remote code on the hub lays it out: the vision tower.

Paper: arXiv 2311.03079.
"""

from collections.abc import Mapping
from math import isqrt
from typing import Any

from isthmus.keys import KeyMap
from isthmus.vision.configuration import Eva2ClipVisionConfig

_THEIRS, _OURS = "model.vision.transformer.layers.*", "layers.*"

TOWER = KeyMap(
    (
        ("model.vision.patch_embedding.cls_embedding", "embeddings.class_token"),
        ("model.vision.patch_embedding.position_embedding.weight", "embeddings.positions"),
        ("model.vision.patch_embedding.proj.*", "embeddings.projection.*"),
        (f"{_THEIRS}.attention.query_key_value.*", f"{_OURS}.attention.qkv.*"),
        (f"{_THEIRS}.attention.dense.*", f"{_OURS}.attention.output.*"),
        # Named for a norm before the branches, but in the code they stand behind them.
        (f"{_THEIRS}.input_layernorm.*", f"{_OURS}.attention_norm.*"),
        (f"{_THEIRS}.mlp.*.*", f"{_OURS}.feed_forward.*.*"),
        (f"{_THEIRS}.post_attention_layernorm.*", f"{_OURS}.feed_forward_norm.*"),
    )
)


def tower(arguments: Mapping[str, Any]) -> Eva2ClipVisionConfig:
    """Returns the tower of a `vision_config`.

    Raises:
        ValueError: it is not the tower that is known here.
    """
    positions = arguments["num_positions"]
    side = isqrt(positions - 1)
    if side * side != positions - 1:
        raise ValueError(
            f"CogVLM's num_positions is {positions}; expected one more than a square number"
        )
    for name, expected in {"hidden_act": "gelu", "in_channels": 3, "dropout_prob": 0.0}.items():
        if (found := arguments.get(name, expected)) != expected:
            raise ValueError(f"CogVLM's vision_config has {name} {found!r}; expected {expected!r}")
    return Eva2ClipVisionConfig(
        hidden_size=arguments["hidden_size"],
        intermediate_size=arguments["intermediate_size"],
        num_hidden_layers=arguments["num_hidden_layers"],
        num_attention_heads=arguments["num_heads"],
        image_size=side * arguments["patch_size"],
        patch_size=arguments["patch_size"],
        layer_norm_eps=arguments["layer_norm_eps"],
    )
