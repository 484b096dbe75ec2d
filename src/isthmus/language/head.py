"""The language model's head, exact for every family: a linear map, and what the family does after.

A composite model holds the body of a language model and applies the head itself, so that the loss
can skip rows. Several families do more than a matrix product: Gemma caps its logits softly, Cohere
and Granite scale them. The same operations in the same order keep every bit.
"""

import copy
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, PreTrainedConfig

MULTIPLIERS = ("logit_scale", "lm_head_multiplier", "output_multiplier")
"""Names under which configurations keep a factor that the logits are multiplied by."""
DIVISORS = ("logits_scaling",)
"""Names under which configurations keep a factor that the logits are divided by."""
UNSCALED = ("mt5",)
"""Kin of T5 whose head is tied to the embeddings, and that do nothing to make up for it."""
SOFT_CAP = "final_logit_softcapping"
"""Name under which configurations keep the bound of the logits."""


@final
@dataclass(frozen=True, kw_only=True)
class HeadArithmetic:
    """What a family does around the linear map of its head."""

    states_multiplier: float | None = None
    """Factor of the states before the linear map."""

    multiplier: float | None = None
    """Factor of the logits."""
    divisor: float | None = None
    """Divisor of the logits; dividing and multiplying by the inverse differ in the last bit."""
    soft_cap: float | None = None
    """Bound that a hyperbolic tangent keeps the logits within."""

    @classmethod
    def of(cls, text_config: PreTrainedConfig) -> "HeadArithmetic":
        """Reads the arithmetic off a language model's configuration."""

        def first(names: tuple[str, ...]) -> float | None:
            values = (getattr(text_config, name, None) for name in names)
            return next((value for value in values if value is not None), None)

        return cls(
            states_multiplier=_states_multiplier(text_config),
            multiplier=first(MULTIPLIERS),
            divisor=first(DIVISORS),
            soft_cap=first((SOFT_CAP,)),
        )

    def logits(self, states: Tensor, head: nn.Module) -> Tensor:
        """Returns the logits of hidden states, as the family's own class gives them."""
        if self.states_multiplier is not None:
            states = states * self.states_multiplier
        return self(head(states))

    def __call__(self, logits: Float[Tensor, "*rows vocab"]) -> Float[Tensor, "*rows vocab"]:
        """Returns what becomes of the logits behind the linear map."""
        if self.multiplier is not None:
            logits = logits * self.multiplier
        if self.divisor is not None:
            logits = logits / self.divisor
        if self.soft_cap is not None:
            logits = torch.tanh(logits / self.soft_cap) * self.soft_cap
        return logits


def _states_multiplier(text_config: PreTrainedConfig) -> float | None:
    """Returns the factor by which T5 and its kin make up for a head tied to the embeddings."""
    is_kin = (
        text_config.is_encoder_decoder
        and hasattr(text_config, "relative_attention_num_buckets")
        and text_config.model_type not in UNSCALED
    )
    tied = getattr(text_config, "scale_decoder_outputs", text_config.tie_word_embeddings)
    return text_config.d_model**-0.5 if is_kin and tied else None


def build_head(text_config: PreTrainedConfig) -> nn.Linear:
    """Returns a fresh head with the widths and the bias of the family's own.

    Raises:
        ValueError: the family's head is not one linear map.
    """
    # The family's own class, without memory: widths and biases follow no common rule.
    with torch.device("meta"):
        kind = AutoModelForSeq2SeqLM if text_config.is_encoder_decoder else AutoModelForCausalLM
        stock = kind.from_config(copy.deepcopy(text_config))
    head = stock.get_output_embeddings()
    if not isinstance(head, nn.Linear):
        raise ValueError(
            f"the head of {type(stock).__name__} is {type(head).__name__}; expected one linear "
            "map, which every causal language model this package supports has"
        )
    return nn.Linear(head.in_features, head.out_features, bias=head.bias is not None)
