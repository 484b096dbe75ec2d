"""Tiny random towers, language models and a tokenizer: real classes, no network, milliseconds."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from isthmus import IsthmusForConditionalGeneration, IsthmusProcessor
from isthmus.pretrained import read_config
from isthmus.vision.fused import TowerConfig
from isthmus.vision.tower import VisionTower, vision_part

IMAGE_SIZE = 32
PATCH_SIZE = 8
GRID = (4, 4)
NUM_BLOCKS = 3
D_VISION = 32
D_TEXT = 48

# Each message on its own, with marks around what the assistant says.
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}"
    "assistant: {% generation %}{{ message['content'] }}{{ eos_token }}{% endgeneration %}"
    "{% else %}{{ message['role'] }}: {{ message['content'] }}{% endif %}{{ '\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}"
)

_SMALL = {
    "hidden_size": D_TEXT,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 256,
}
_GROUPED = {**_SMALL, "num_key_value_heads": 2}
LANGUAGE_CONFIGS: dict[str, dict[str, Any]] = {
    "llama": _GROUPED,
    "qwen3": {**_GROUPED, "head_dim": 12},
    "mistral": _GROUPED,
    "gemma2": {**_GROUPED, "head_dim": 12, "sliding_window": 16, "final_logit_softcapping": 3.0},
    "opt": {
        "hidden_size": D_TEXT,
        "ffn_dim": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 256,
        "word_embed_proj_dim": 40,
    },
    "gpt2": {"n_embd": D_TEXT, "n_layer": 2, "n_head": 4, "n_positions": 256},
    "gpt_neox": _SMALL,
    "cohere": {**_GROUPED, "logit_scale": 0.3},
    "granite": {**_GROUPED, "logits_scaling": 3.0},
    "phi": {**_SMALL, "partial_rotary_factor": 0.5},
}
"""Families of causal language models, with what makes their heads differ from a plain matrix."""

_VISION = {
    "hidden_size": D_VISION,
    "intermediate_size": 48,
    "num_hidden_layers": NUM_BLOCKS,
    "num_attention_heads": 4,
    "image_size": IMAGE_SIZE,
    "patch_size": PATCH_SIZE,
}
VISION_CONFIGS: dict[str, dict[str, Any]] = {
    "siglip_vision_model": _VISION,
    "clip_vision_model": _VISION,
    "dinov2": _VISION,
    "dinov2_with_registers": {**_VISION, "num_register_tokens": 3},
    "vit": _VISION,
    "blip_2_vision_model": _VISION,
}
"""Families of vision towers: no prefix token, a class token, class and register tokens."""


def tiny_tokenizer() -> PreTrainedTokenizerBase:
    """A byte-level tokenizer: every text round-trips, one token per byte."""
    specials = ["<s>", "</s>", "<pad>"]
    vocab = {token: i for i, token in enumerate([*specials, *_byte_alphabet()])}
    backend = Tokenizer(models.BPE(vocab=vocab, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
    )


def tiny_lm(family: str = "llama", *, seed: int = 0, **changes: Any) -> PreTrainedModel:
    """A random causal language model whose vocabulary is exactly the tokenizer's."""
    torch.manual_seed(seed)
    config = AutoConfig.for_model(
        family,
        **{
            "vocab_size": len(tiny_tokenizer()),
            "bos_token_id": 0,
            "eos_token_id": 1,
            "pad_token_id": 2,
            **LANGUAGE_CONFIGS[family],
            **changes,
        },
    )
    model = AutoModelForCausalLM.from_config(config).eval()
    return _spread(model)


def tiny_vision(family: str = "siglip_vision_model", *, seed: int = 0) -> PreTrainedModel:
    """A random vision tower of three blocks that sees a grid of 4 x 4 patches."""
    torch.manual_seed(seed)
    model = AutoModel.from_config(AutoConfig.for_model(family, **VISION_CONFIGS[family])).eval()
    return _spread(model)


def load_tower(folder: str, layer: int, *, mean: list[float], std: list[float]) -> VisionTower:
    """A tower of a folder, which need not hold an image processor."""
    config = TowerConfig(
        encoder=vision_part(read_config(folder)),
        layers=(layer,),
        image_size=IMAGE_SIZE,
        mean=tuple(mean),
        std=tuple(std),
    )
    return config.load(folder, dtype=torch.float32).eval()


def save_language(folder: Path, family: str = "llama", **changes: Any) -> str:
    """Saves a language model and its tokenizer, as a user's folder holds them."""
    if family == "t5":
        return save_t5(folder, **changes)
    tiny_lm(family, **changes).save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return str(folder)


def save_t5(
    folder: Path,
    tokenizer: PreTrainedTokenizerBase | None = None,
    *,
    family: str = "t5",
    **changes: Any,
) -> str:
    """Saves T5 or one of its kin, and its tokenizer: of bytes, as ByT5's is."""
    torch.manual_seed(0)
    tokenizer = tokenizer or t5_byte_tokenizer()
    settings = {
        "vocab_size": len(tokenizer),
        "d_model": 40,
        "d_kv": 10,
        "d_ff": 64,
        "num_layers": 2,
        "num_heads": 4,
        "dropout_rate": 0.0,
        "decoder_start_token_id": tokenizer.pad_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }
    config = AutoConfig.for_model(family, **settings | changes)
    _spread(AutoModelForSeq2SeqLM.from_config(config)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def t5_byte_tokenizer() -> PreTrainedTokenizerBase:
    """The byte-level tokenizer as one of T5's kin: an end mark, no begin mark, no template."""
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=tiny_tokenizer().backend_tokenizer, eos_token="</s>", pad_token="<pad>"
    )
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", tokenizer.eos_token_id)]
    )
    return tokenizer


def save_vision(folder: Path, family: str = "siglip_vision_model") -> str:
    """Saves a tower and its image processor, as a user's folder holds them."""
    tiny_vision(family).save_pretrained(folder)
    tiny_image_processor().save_pretrained(folder)
    return str(folder)


def tiny_model(
    folder: Path, *, language: str = "llama", vision: str = "siglip_vision_model", **choices: Any
) -> tuple[IsthmusForConditionalGeneration, IsthmusProcessor]:
    """A model and its processor, built from folders as a user builds them."""
    towers: dict[str, Any] = {
        "vision": save_vision(folder / vision, vision),
        "language": save_language(folder / language, language),
    }
    torch.manual_seed(0)
    of_model = {name: value for name, value in choices.items() if name != "qformer_tokenizer"}
    of_processor = {name: value for name, value in choices.items() if name != "dtype"}
    return (
        IsthmusForConditionalGeneration.from_towers(**towers, **of_model),
        IsthmusProcessor.from_towers(**towers, **of_processor),
    )


def tiny_image_processor() -> ViTImageProcessorPil:
    """An image processor with a mean and a spread that differ by channel."""
    return ViTImageProcessorPil(
        size={"height": IMAGE_SIZE, "width": IMAGE_SIZE},
        resample=3,
        image_mean=[0.4, 0.5, 0.6],
        image_std=[0.2, 0.25, 0.3],
        do_convert_rgb=True,
    )


def tiny_image(seed: int = 0, width: int = 40, height: int = 24) -> Image.Image:
    """A picture of coloured noise."""
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(noise)


def tiny_pixels(images: int, seed: int = 0) -> torch.Tensor:
    """Bytes of images that are already square."""
    generator = torch.Generator().manual_seed(seed)
    shape = (images, 3, IMAGE_SIZE, IMAGE_SIZE)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


def _spread(model: PreTrainedModel) -> PreTrainedModel:
    """Widens the weights: with small ones all outputs look alike, and tests see nothing."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=0.3)
            else:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


def _byte_alphabet() -> list[str]:
    return sorted(pre_tokenizers.ByteLevel.alphabet())
