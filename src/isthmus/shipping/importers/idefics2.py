"""Idefics2, as transformers has it: its connector, and the resampler in it alone.

Paper: arXiv 2405.02246.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from isthmus.connectors import ConnectorConfig
from isthmus.connectors.idefics2_resampler import Idefics2Resampler
from isthmus.keys import KeyMap

RESAMPLER = KeyMap(
    (
        ("latents", "latents"),
        ("layers.*.input_context_norm.weight", "layers.*.patch_norm.weight"),
        ("layers.*.input_latents_norm.weight", "layers.*.latent_norm.weight"),
        ("layers.*.self_attn.q_proj.weight", "layers.*.query.weight"),
        ("layers.*.self_attn.k_proj.weight", "layers.*.key.weight"),
        ("layers.*.self_attn.v_proj.weight", "layers.*.value.weight"),
        ("layers.*.self_attn.o_proj.weight", "layers.*.output.weight"),
        ("layers.*.post_attention_layernorm.weight", "layers.*.feed_forward_norm.weight"),
        ("layers.*.mlp.gate_proj.weight", "layers.*.feed_forward.gate.weight"),
        ("layers.*.mlp.up_proj.weight", "layers.*.feed_forward.up.weight"),
        ("layers.*.mlp.down_proj.weight", "layers.*.feed_forward.down.weight"),
        ("norm.weight", "norm.weight"),
    )
)
CONNECTOR = KeyMap(
    (
        ("modality_projection.gate_proj.weight", "projection.gate.weight"),
        ("modality_projection.up_proj.weight", "projection.up.weight"),
        ("modality_projection.down_proj.weight", "projection.down.weight"),
        *((f"perceiver_resampler.{theirs}", ours) for theirs, ours in RESAMPLER.pairs),
    )
)


def resampler(perceiver_config: Mapping[str, Any]) -> Idefics2Resampler.Config:
    """Returns the connector of a `perceiver_config`, without the projection in front of it.

    Raises:
        ValueError: the gates are not SiLU.
    """
    _check_gate("perceiver_config", perceiver_config)
    return Idefics2Resampler.Config(
        num_latents=perceiver_config["resampler_n_latents"],
        depth=perceiver_config["resampler_depth"],
        num_heads=perceiver_config["resampler_n_heads"],
        num_key_value_heads=perceiver_config["num_key_value_heads"],
        d_head=perceiver_config["resampler_head_dim"],
        norm_eps=perceiver_config["rms_norm_eps"],
        modality_projection=False,
    )


def connector(
    perceiver_config: Mapping[str, Any], text_config: Mapping[str, Any]
) -> ConnectorConfig:
    """Returns the connector of a `perceiver_config` and a `text_config`.

    Raises:
        ValueError: the gates are not SiLU.
    """
    _check_gate("text_config", text_config)
    return replace(
        resampler(perceiver_config),
        modality_projection=True,
        d_projection=text_config["intermediate_size"],
    )


def _check_gate(name: str, config: Mapping[str, Any]) -> None:
    if (activation := config["hidden_act"]) != "silu":
        raise ValueError(f"{name}.hidden_act is {activation!r}; expected 'silu'")
