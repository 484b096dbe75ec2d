"""The language model's body, and the proof at build time that taking it apart changed nothing."""

import importlib.util
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import nn
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    BitsAndBytesConfig,
    GenerationConfig,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES,
)

from isthmus.language.head import HeadArithmetic
from isthmus.pretrained import read_config

CHECKED_TOKENS = 16
"""Random tokens on which the parts are compared with the whole."""


@final
@dataclass(frozen=True, kw_only=True)
class LanguageParts:
    """A language model taken apart."""

    backbone: PreTrainedModel
    """Embeddings and blocks, of an encoder too where there is one; gives hidden states."""
    head: nn.Module
    """Linear map from hidden states to logits, before the family's arithmetic."""
    generation_config: GenerationConfig | None
    """How the model's authors sample from it."""


def text_config_of(language: str) -> PreTrainedConfig:
    """Reads the configuration of a language model, causal or encoder-decoder.

    Args:
        language: local folder or hub id.

    Raises:
        ValueError: it is no language model.
    """
    config = read_config(language)
    known = (
        MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES
        if config.is_encoder_decoder
        else MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    )
    if config.model_type not in known:
        raise ValueError(
            f"{language!r} is a {config.model_type!r} model; expected a language model such as "
            "llama, qwen3, mistral, gemma2, opt, gpt2, gpt_neox or t5"
        )
    if config.get_text_config() is not config:
        raise ValueError(
            f"{language!r} ({config.model_type}) holds a language model among other parts; save "
            "that part on its own with AutoModelForCausalLM and give its folder"
        )
    return config


def build_backbone(text_config: PreTrainedConfig) -> PreTrainedModel:
    """Returns a fresh body of the family that the configuration names."""
    return AutoModel.from_config(text_config)


def load_language(language: str, *, dtype: torch.dtype, four_bit: bool = False) -> LanguageParts:
    """Loads a pretrained language model and takes it apart.

    Args:
        language: local folder or hub id.
        dtype: of the weights.
        four_bit: quantise the weights of linear layers to four bits (NF4), on a GPU.

    Raises:
        ValueError: it is no language model, its parts do not give its logits, or four bits
            were asked for where they cannot be had.
    """
    config = text_config_of(language)
    if four_bit or getattr(config, "quantization_config", None) is not None:
        _check_quantized(language)
    options: dict[str, Any] = {}
    if four_bit:
        options["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16
        )
    return take_apart(stock_class(config).from_pretrained(language, dtype=dtype, **options))


def stock_class(text_config: PreTrainedConfig) -> Any:
    """Returns the Auto class that builds a language model with its head."""
    return AutoModelForSeq2SeqLM if text_config.is_encoder_decoder else AutoModelForCausalLM


def _check_quantized(language: str) -> None:
    if not torch.cuda.is_available():
        raise ValueError(
            f"{language!r} with quantised weights needs a CUDA GPU, and there is none; take the "
            "unquantised weights"
        )
    if importlib.util.find_spec("bitsandbytes") is None:
        raise ValueError(
            "quantised weights need bitsandbytes; install it with `pip install bitsandbytes`"
        )


def take_apart(stock: Any) -> LanguageParts:
    """Takes the modules of a language model and checks that they still give its logits.

    The check is skipped on the meta device, where there are no numbers.

    Args:
        stock: an instance of one of transformers' language models.

    Raises:
        ValueError: body, head and arithmetic do not give the logits of the whole, bit for bit.
    """
    head = stock.get_output_embeddings()
    parts = LanguageParts(
        backbone=_body(stock), head=head, generation_config=stock.generation_config
    )
    if stock.device.type == "meta":
        return parts
    generator = torch.Generator().manual_seed(0)
    vocab = stock.get_input_embeddings().num_embeddings
    ids = torch.randint(vocab, (1, CHECKED_TOKENS), generator=generator).to(stock.device)
    training = stock.training
    stock.eval()
    written = {"decoder_input_ids": ids} if stock.config.is_encoder_decoder else {}
    with torch.no_grad():
        whole = stock(input_ids=ids, **written, use_cache=False).logits
        embeds = parts.backbone.get_input_embeddings()(ids)
        outputs = parts.backbone(inputs_embeds=embeds, **written, use_cache=False)
        ours = HeadArithmetic.of(stock.config).logits(outputs.last_hidden_state, head)
    stock.train(training)
    if not torch.equal(whole, ours):
        difference = (whole - ours).abs().max().item()
        raise ValueError(
            f"the parts of {type(stock).__name__} give logits that differ from the whole by up to "
            f"{difference:.3g}; this family does more with its head or embeddings than is known "
            "here, so it cannot be used unchanged: choose another language model"
        )
    return parts


def _body(stock: Any) -> PreTrainedModel:
    if stock.base_model is not stock:
        return stock.base_model
    # Some families (T5) keep the parts of the body side by side with the head.
    with torch.device("meta"):
        body = build_backbone(stock.config)
    # The modules themselves: the head may be tied to one, or their weights be quantised.
    for name, _ in list(body.named_children()):
        setattr(body, name, stock.get_submodule(name))
    return body.train(stock.training)
