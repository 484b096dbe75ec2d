"""Published parts in small: random weights of the same classes, and what reads texts or images."""

import json
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    PreTrainedConfig,
)

from isthmus.pretrained import published, read_config
from isthmus.vision.choice import Layers
from isthmus.vision.tower import vision_part
from tests.tiny_alignment import save_bert
from tests.tokenizers_of_families import FAMILIES, t5_tokenizer

HEADS = 4
GRID = 4
"""Rows and columns of the patches."""
NARROW, WIDE = HEADS * 6, HEADS * 8
"""Width of what was narrower than 1024, and of what was not: those that meet mostly differ."""
LAYERS = 2

_WIDTHS = ("hidden_size", "n_embd", "d_model", "word_embed_proj_dim")
_INNER = ("intermediate_size", "ffn_dim", "d_ff", "n_inner")
_HEADS = ("num_attention_heads", "n_head", "num_heads")
_LAYERS = ("num_hidden_layers", "n_layer", "num_layers", "num_decoder_layers")
_TOKENIZERS = {"qwen2": "qwen", "qwen3": "qwen", "gemma2": "gemma", "gemma3_text": "gemma"}
"""Families of tokenizers by the kind of model, where they are called otherwise."""
_OF_LLAMA_2 = 32_000
"""Entries of its vocabulary; what else has the architecture of Llama splits bytes as GPT-2 does."""


def save_published_language(name: str, folder: Path) -> str:
    """Saves a language model or a BERT in small, with a tokenizer of its family.

    Args:
        name: hub id whose configuration is among the published ones.
        folder: made when absent.
    """
    config = read_config(published(name))
    if config.model_type == "bert":
        return save_bert(folder)
    tokenizer = t5_tokenizer() if config.is_encoder_decoder else FAMILIES[_tokenizer(config)]()
    tokenizer.save_pretrained(folder)
    # Models have a few rows more than their tokenizers have entries.
    rows = {"vocab_size": (len(tokenizer) // 8 + 1) * 8}
    marks = ("bos_token_id", "eos_token_id", "pad_token_id")
    ids = {mark: getattr(tokenizer, mark) for mark in marks}
    if config.is_encoder_decoder:
        ids["decoder_start_token_id"] = tokenizer.pad_token_id
    written = _shrunk(config, layers=LAYERS) | rows | ids
    kind = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
    return _saved(kind, written, folder)


def save_published_vision(name: str, folder: Path, *, layer: Layers) -> str:
    """Saves a vision tower in small, with its image processor.

    Args:
        name: hub id whose configuration is among the published ones.
        folder: made when absent.
        layer: what a recipe takes from it; there are layers enough for that.
    """
    config = vision_part(read_config(published(name)))
    chosen = (layer,) if isinstance(layer, int) else layer
    written = _shrunk(config, layers=max(3, *map(abs, chosen)))
    side = GRID * config.patch_size
    written |= {"image_size": side}
    _saved(AutoModel, written, folder)
    processor = json.loads((Path(published(name)) / "preprocessor_config.json").read_text())
    for size in (processor["size"], processor.get("crop_size") or {}):
        size.update(dict.fromkeys(size, side))
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return str(folder)


def _shrunk(config: PreTrainedConfig, *, layers: int) -> dict[str, Any]:
    """Returns a configuration with other sizes; all that it says otherwise stays."""
    whole = config.to_dict()
    for counted in ("out_features", "out_indices", "stage_names"):  # of backbones, by their layers
        whole.pop(counted, None)
    heads = next(whole[key] for key in _HEADS if whole.get(key))
    width = NARROW if config.hidden_size < 1024 else WIDE
    grouped = whole.get("num_key_value_heads") not in (None, heads)
    sizes = {
        **dict.fromkeys(_WIDTHS, width),
        **dict.fromkeys(_INNER, 2 * width),
        **dict.fromkeys(_HEADS, HEADS),
        **dict.fromkeys(_LAYERS, layers),
        "num_key_value_heads": HEADS // 2 if grouped else HEADS,
        "head_dim": width // HEADS,
        "d_kv": width // HEADS,
    }
    if "partial_rotary_factor" in (whole.get("rope_parameters") or {}):
        # Of a small head, a whole number of pairs.
        whole["rope_parameters"]["partial_rotary_factor"] = 0.5
    return whole | {key: size for key, size in sizes.items() if whole.get(key) is not None}


def _saved(kind: Any, written: dict[str, Any], folder: Path) -> str:
    torch.manual_seed(0)
    model = kind.from_config(AutoConfig.for_model(**written))
    model.float().save_pretrained(folder)
    return str(folder)


def _tokenizer(config: PreTrainedConfig) -> str:
    family = config.model_type
    if family == "llama" and config.vocab_size != _OF_LLAMA_2:
        return "gpt2"
    family = _TOKENIZERS.get(family, family)
    return family if family in FAMILIES else "gpt2"
