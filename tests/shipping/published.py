"""Tiny random models of transformers and LAVIS, in folders and files as a user has them.

All weights are drawn: the library starts queries at zero and towers near it, where nothing shows.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    Blip2Config,
    Blip2ForConditionalGeneration,
    Blip2ForImageTextRetrieval,
    Blip2Processor,
    InstructBlipConfig,
    InstructBlipForConditionalGeneration,
    InstructBlipProcessor,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

from tests.tiny import t5_byte_tokenizer, tiny_tokenizer
from tests.tiny_alignment import VOCAB, text_tokenizer

SIDE, NUM_QUERIES, LENGTH = 16, 4, 7
PLACEHOLDER = 259
"""The byte tokenizers' next id, inside the language models' vocabulary."""
# Widths in which a file of LAVIS is to be read: heads of 88 and 64.
VISION = {
    "hidden_size": 176,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": SIDE,
    "patch_size": 4,
}
QFORMER = {
    "hidden_size": 128,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "vocab_size": VOCAB,
    "max_position_embeddings": 32,
}
_SHARED = {"vocab_size": 262, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2}
LANGUAGE: dict[str, dict[str, Any]] = {
    "opt": {
        **_SHARED,
        "hidden_size": 24,
        "word_embed_proj_dim": 24,
        "ffn_dim": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": 64,
    },
    "llama": {
        **_SHARED,
        "hidden_size": 24,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": 64,
    },
    "t5": {
        **_SHARED,
        "d_model": 24,
        "d_kv": 6,
        "d_ff": 32,
        "num_layers": 2,
        "num_heads": 4,
        "decoder_start_token_id": 2,
        "feed_forward_proj": "gated-gelu",
        "tie_word_embeddings": False,
    },
}


def save_generation(
    folder: Path, *, language: str = "opt", reads: bool = False, **changes: Any
) -> PreTrainedModel:
    """Saves a BLIP-2, or an InstructBLIP where it reads the instruction, with its processor."""
    settings = {
        "vision_config": VISION,
        "qformer_config": QFORMER,
        "text_config": {"model_type": language, **LANGUAGE[language]},
        "num_query_tokens": NUM_QUERIES,
        "image_token_index": PLACEHOLDER,
    }
    config = (InstructBlipConfig if reads else Blip2Config)(**{**settings, **changes})
    kind = InstructBlipForConditionalGeneration if reads else Blip2ForConditionalGeneration
    model = drawn(kind(config))
    model.save_pretrained(folder)
    tokenizer = t5_byte_tokenizer() if language == "t5" else tiny_tokenizer()
    parts = (image_processor(), tokenizer, *([text_tokenizer()] if reads else []))
    processor = (InstructBlipProcessor if reads else Blip2Processor)(
        *parts, num_query_tokens=NUM_QUERIES
    )
    processor.save_pretrained(folder)
    return model


def save_retrieval(
    folder: Path, tokenizer: PreTrainedTokenizerBase | None = None, **changes: Any
) -> PreTrainedModel:
    """Saves a model that compares, with its processor."""
    settings = {
        "vision_config": VISION,
        "qformer_config": {**QFORMER, "use_qformer_text_input": True, **changes},
        "num_query_tokens": NUM_QUERIES,
        "image_text_hidden_size": 12,
        "image_token_index": VOCAB,
    }
    model = drawn(Blip2ForImageTextRetrieval(Blip2Config(**settings)))
    model.save_pretrained(folder)
    words = text_tokenizer() if tokenizer is None else tokenizer
    Blip2Processor(image_processor(), words, num_query_tokens=NUM_QUERIES).save_pretrained(folder)
    return model


def drawn(model: PreTrainedModel) -> PreTrainedModel:
    """Large weights: what a picture or a word changes has to arrive at the other end."""
    torch.manual_seed(1)
    for name, parameter in model.named_parameters():
        if parameter.ndim == 1:
            is_scale = name.endswith("weight")
            nn.init.normal_(parameter, mean=float(is_scale), std=0.2)
        else:
            is_table = "embed" in name or "token" in name
            nn.init.normal_(parameter, std=1.0 if is_table else 2 * parameter[0].numel() ** -0.5)
    return model.eval()


def image_processor() -> BlipImageProcessorPil:
    """As the published ones, but for the size: mean and spread of CLIP."""
    return BlipImageProcessorPil(size={"height": SIDE, "width": SIDE})


def pixels(images: int, side: int = SIDE) -> tuple[Tensor, Tensor]:
    """Bytes for ours, and the same normalised for theirs."""
    own = torch.randint(0, 256, (images, 3, side, side), dtype=torch.uint8)
    mean, std = (
        torch.tensor(values)[:, None, None]
        for values in (image_processor().image_mean, image_processor().image_std)
    )
    return own, (own / 255 - mean) / std


def prompts(rows: int, placeholder: int = PLACEHOLDER) -> Tensor:
    """Placeholders, then words."""
    words = torch.randint(3, 256, (rows, LENGTH))
    return torch.cat([torch.full((rows, NUM_QUERIES), placeholder), words], dim=1)


def texts(rows: int) -> dict[str, Tensor]:
    """Texts of several lengths for a Q-Former."""
    ids = torch.randint(5, VOCAB, (rows, LENGTH))
    mask = torch.ones_like(ids)
    mask[-1, 4:] = 0
    return {"input_ids": ids * mask, "attention_mask": mask}


def same(first: nn.Module, second: nn.Module) -> bool:
    """Whether two models have the same weights, bit for bit."""
    one, other = first.state_dict(), second.state_dict()
    return one.keys() == other.keys() and all(torch.equal(one[n], other[n]) for n in one)


def close(found: Tensor, expected: Tensor) -> None:
    """Equal to 1e-5 of outputs that are not all alike."""
    assert found.shape == expected.shape
    assert expected.std() > 0.05
    assert (found - expected).abs().max() < 1e-5 * max(1.0, expected.abs().max().item())
