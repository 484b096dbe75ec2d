"""Where a language model's training starts: from nothing, or from a folder, as it is or grown."""

from collections.abc import Callable
from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from isthmus.microworld.towers.deepened import deepened

Start = Callable[[PreTrainedTokenizerFast], LlamaForCausalLM]
"""Makes the model of a tokenizer."""

_HEADS, _POSITIONS = 4, 2048


def fresh(*, width: int, depth: int) -> Start:
    """A Llama drawn at random."""

    def start(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
        return LlamaForCausalLM(
            LlamaConfig(
                vocab_size=len(tokenizer),
                hidden_size=width,
                intermediate_size=width * 8 // 3,
                num_hidden_layers=depth,
                num_attention_heads=_HEADS,
                max_position_embeddings=_POSITIONS,
                tie_word_embeddings=True,
                bos_token_id=tokenizer.bos_token_id,
                eos_token_id=tokenizer.eos_token_id,
                pad_token_id=tokenizer.pad_token_id,
            )
        )

    return start


def saved(folder: Path) -> Start:
    """The model of a folder as it is."""
    return lambda _: LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32)


def grown(folder: Path, *, depth: int) -> Start:
    """The model of a folder, deeper; only its new layers learn, see `deepened`."""

    def start(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
        model = saved(folder)(tokenizer).requires_grad_(False)
        outputs = ("self_attn.o_proj", "mlp.down_proj")
        model.model.layers = deepened(model.model.layers, depth, outputs=outputs)
        for index, layer in enumerate(model.model.layers):
            layer.self_attn.layer_idx = index
        model.config.num_hidden_layers = depth
        return model

    return start
