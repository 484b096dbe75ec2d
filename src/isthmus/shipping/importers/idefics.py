"""Idefics, as transformers has it: its Perceiver resampler.

Paper: arXiv 2306.16527.
"""

from collections.abc import Mapping
from typing import Any

from isthmus.connectors import ConnectorConfig
from isthmus.connectors.perceiver_resampler import PerceiverResampler
from isthmus.keys import KeyMap

RESAMPLER = KeyMap(
    (
        ("latents", "latents"),
        ("blocks.*.0.context_layer_norm.*", "layers.*.patch_norm.*"),
        ("blocks.*.0.latents_layer_norm.*", "layers.*.latent_norm.*"),
        ("blocks.*.0.q_layer_norm.*", "layers.*.query_norm.*"),
        ("blocks.*.0.k_layer_norm.*", "layers.*.key_norm.*"),
        ("blocks.*.0.q_proj.weight", "layers.*.query.weight"),
        ("blocks.*.0.kv_proj.weight", "layers.*.key_value.weight"),
        ("blocks.*.0.output_proj.weight", "layers.*.output.weight"),
        ("blocks.*.1.ln.*", "layers.*.feed_forward.0.*"),
        ("blocks.*.1.fc.weight", "layers.*.feed_forward.1.weight"),
        ("blocks.*.1.c_proj.weight", "layers.*.feed_forward.3.weight"),
        ("layer_norm.*", "norm.*"),
    ),
    stacked=(
        ("blocks.*.0.kv_proj.weight", ("blocks.*.0.k_proj.weight", "blocks.*.0.v_proj.weight")),
    ),
)


def resampler(perceiver_config: Mapping[str, Any]) -> ConnectorConfig:
    """Returns the connector of a `perceiver_config`.

    The language model's gated layers read the latents, so `d_text` is the width of the patches.
    """
    return PerceiverResampler.Config(
        num_latents=perceiver_config["resampler_n_latents"],
        depth=perceiver_config["resampler_depth"],
        num_heads=perceiver_config["resampler_n_heads"],
        d_head=perceiver_config["resampler_head_dim"],
        activation="relu",
        qk_layer_norms=perceiver_config["qk_layer_norms_perceiver"],
        project=False,
    )
