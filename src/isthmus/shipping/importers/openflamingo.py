"""OpenFlamingo (mlfoundations/open_flamingo): its Perceiver resampler and its gated blocks.

Paper: arXiv 2308.01390.
"""

from collections.abc import Mapping
from typing import Any

from isthmus.connectors import ConnectorConfig
from isthmus.connectors.perceiver_resampler import PerceiverResampler
from isthmus.fusion.gated_cross_attention import GatedCrossAttention
from isthmus.keys import KeyMap

RESAMPLER = KeyMap(
    (
        ("latents", "latents"),
        ("frame_embs", "frame_embeddings"),
        ("media_time_embs", "media_embeddings"),
        ("layers.*.0.norm_media.*", "layers.*.patch_norm.*"),
        ("layers.*.0.norm_latents.*", "layers.*.latent_norm.*"),
        ("layers.*.0.to_q.weight", "layers.*.query.weight"),
        ("layers.*.0.to_kv.weight", "layers.*.key_value.weight"),
        ("layers.*.0.to_out.weight", "layers.*.output.weight"),
        ("layers.*.1.*.*", "layers.*.feed_forward.*.*"),
        ("norm.*", "norm.*"),
    )
)

GATED_BLOCK = KeyMap(
    (
        ("attn.norm.*", "norm.*"),
        ("attn.to_q.weight", "query.weight"),
        ("attn.to_kv.weight", "key_value.weight"),
        ("attn.to_out.weight", "output.weight"),
        ("attn_gate", "attention_gate"),
        ("ff.*.*", "feed_forward.*.*"),
        ("ff_gate", "feed_forward_gate"),
    )
)


def gated_cross_attention(arguments: Mapping[str, Any]) -> GatedCrossAttention.Config:
    """Returns the fusion of a gated block's arguments."""
    latest = arguments.get("only_attend_immediate_media", True)
    return GatedCrossAttention.Config(
        num_heads=arguments.get("heads", 8),
        d_head=arguments.get("dim_head", 64),
        ffn_multiplier=arguments.get("ff_mult", 4),
        d_visual=arguments["dim_visual"],
        sees="latest" if latest else "all",
    )


def resampler(arguments: Mapping[str, Any]) -> ConnectorConfig:
    """Returns the connector of a resampler's arguments.

    What is not given is as in `PerceiverResampler` there. The language model's gated layers read
    the latents, so `d_text` is the width of the patches.
    """
    return PerceiverResampler.Config(
        num_latents=arguments.get("num_latents", 64),
        depth=arguments.get("depth", 6),
        num_heads=arguments.get("heads", 8),
        d_head=arguments.get("dim_head", 64),
        ffn_multiplier=arguments.get("ff_mult", 4),
        num_frames=arguments.get("max_num_frames") or 0,
        num_media=arguments.get("max_num_media") or 0,
        project=False,
    )
