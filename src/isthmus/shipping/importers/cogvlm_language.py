"""CogVLM and CogVLM2, as their remote code on the hub lays them out: the language model.

Paper: arXiv 2311.03079.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from transformers import LlamaConfig

from isthmus.fusion.visual_expert import VisualExpert
from isthmus.keys import KeyMap

ROPE_BASE = 10_000.0
"""Base of the rotary positions of CogVLM (CogVLM2: 500,000); no setting tells it."""

_FUSED = "_expert_query_key_value."
_PARTS = ("query", "key", "value")

LAYER = KeyMap(
    (
        ("**input_layernorm.weight", "**input_layernorm.weight"),
        ("**post_attention_layernorm.weight", "**post_attention_layernorm.weight"),
        *(
            (f"**self_attn.language{_FUSED}{part}.*", f"**self_attn.{part[0]}_proj.*")
            for part in _PARTS
        ),
        *(
            (f"**self_attn.vision{_FUSED}{part}.*", f"**visual_expert.self_attn__{part[0]}_proj.*")
            for part in _PARTS
        ),
        ("**self_attn.language_expert_dense.*", "**self_attn.o_proj.*"),
        ("**self_attn.vision_expert_dense.*", "**visual_expert.self_attn__o_proj.*"),
        ("**mlp.language_mlp.*.weight", "**mlp.*.weight"),
        ("**mlp.vision_mlp.*.weight", "**visual_expert.mlp__*.weight"),
    ),
    ignored=("**rotary_emb.inv_freq",),
)
"""Names of a layer's weights, those of queries, keys and values apart; see `taken_apart`."""

MODEL = KeyMap(
    (
        *LAYER.pairs,
        ("model.embed_tokens.weight", "embed_tokens.weight"),
        ("model.norm.weight", "norm.weight"),
    ),
    ignored=LAYER.ignored,
)


def text_config(config: Mapping[str, Any], *, rope_base: float = ROPE_BASE) -> LlamaConfig:
    """Returns the language model of a model's configuration.

    Args:
        config: of the whole model.
        rope_base: of its rotary positions.
    """
    heads = config["num_attention_heads"]
    return LlamaConfig(
        vocab_size=config.get("vocab_size", 3),
        hidden_size=config["hidden_size"],
        intermediate_size=config["intermediate_size"],
        num_hidden_layers=config.get("num_hidden_layers", 1),
        num_attention_heads=heads,
        num_key_value_heads=config.get("num_multi_query_heads", heads),
        hidden_act=config.get("hidden_act", "silu"),
        rms_norm_eps=config["rms_norm_eps"],
        max_position_embeddings=config.get("max_position_embeddings", 2048),
        rope_parameters={"rope_type": "default", "rope_theta": float(rope_base)},
        pad_token_id=config.get("pad_token_id"),
        bos_token_id=config.get("bos_token_id", 1),
        eos_token_id=config.get("eos_token_id", 2),
        tie_word_embeddings=False,
    )


def fusion(names: Mapping[str, Any]) -> VisualExpert.Config:
    """Returns the visual expert of a checkpoint; no setting tells CogVLM2, whose expert has biases.

    Args:
        names: weights of the language model.
    """
    return VisualExpert.Config(qkv_bias=any(n.endswith(f"vision{_FUSED}bias") for n in names))


def taken_apart(weights: Mapping[str, Tensor], text: LlamaConfig) -> dict[str, Tensor]:
    """Returns published weights with queries, keys and values apart, which lie on one another."""
    apart: dict[str, Tensor] = {}
    for name, value in weights.items():
        if _FUSED in name:
            for part, rows in zip(_PARTS, value.split(_heights(text)), strict=True):
                apart[name.replace(_FUSED, f"{_FUSED}{part}.")] = rows
        else:
            apart[name] = value
    return apart


def put_together(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns weights with queries, keys and values on one another, as they are published."""
    together: dict[str, Tensor] = {}
    for name, value in weights.items():
        if f"{_FUSED}query." in name:
            whole = name.replace(f"{_FUSED}query.", _FUSED)
            rows = (weights[name.replace("query.", f"{part}.")] for part in _PARTS)
            together[whole] = torch.cat(list(rows))
        elif not any(f"{_FUSED}{part}." in name for part in _PARTS):
            together[name] = value
    return together


def _heights(text: LlamaConfig) -> list[int]:
    width = text.hidden_size // text.num_attention_heads
    keys = (text.num_key_value_heads or text.num_attention_heads) * width
    return [text.hidden_size, keys, keys]
