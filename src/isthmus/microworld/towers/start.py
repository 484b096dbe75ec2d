"""Where a language model's training starts: from nothing, or from a folder, as it is or grown."""

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from transformers.models.llama.modeling_llama import LlamaDecoderLayer

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
    """The model of a folder, deeper, and still the same function.

    Its layers are parted into groups of one size. Behind each group stands a copy of its last layer
    whose output projections are zero, so that it adds nothing until it has learnt. Only the copies
    learn.

    Paper: LLaMA Pro, arXiv 2401.02415, section 3.2.

    Raises:
        ValueError: at the start, for layers that cannot be parted so.
    """

    def start(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
        model = saved(folder)(tokenizer).requires_grad_(False)
        old = list(model.model.layers)
        new = depth - len(old)
        if new < 1 or len(old) % new:
            raise ValueError(
                f"depth is {depth}; expected as many more than the {len(old)} layers of {folder} "
                "as part these evenly"
            )
        size = len(old) // new
        layers: list[LlamaDecoderLayer] = []
        for group in range(0, len(old), size):
            layers += [*old[group : group + size], _silent(old[group + size - 1])]
        for index, layer in enumerate(layers):
            layer.self_attn.layer_idx = index
        model.model.layers = nn.ModuleList(layers)
        model.config.num_hidden_layers = depth
        return model

    return start


def _silent(layer: LlamaDecoderLayer) -> LlamaDecoderLayer:
    """A copy that learns, and adds nothing yet."""
    copy = deepcopy(layer).requires_grad_(True)
    nn.init.zeros_(copy.self_attn.o_proj.weight)
    nn.init.zeros_(copy.mlp.down_proj.weight)
    return copy
