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
from transformers import AutoModelForCausalLM, PreTrainedConfig

MULTIPLIERS = ("logit_scale", "lm_head_multiplier", "output_multiplier")
"""Names under which configurations keep a factor that the logits are multiplied by."""
DIVISORS = ("logits_scaling",)
"""Names under which configurations keep a factor that the logits are divided by."""
SOFT_CAP = "final_logit_softcapping"
"""Name under which configurations keep the bound of the logits."""


@final
@dataclass(frozen=True, kw_only=True)
class HeadArithmetic:
    """What a family does to the logits that its linear map gave."""

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
            multiplier=first(MULTIPLIERS), divisor=first(DIVISORS), soft_cap=first((SOFT_CAP,))
        )

    def __call__(self, logits: Float[Tensor, "*rows vocab"]) -> Float[Tensor, "*rows vocab"]:
        """Returns the logits as the family's own class gives them."""
        if self.multiplier is not None:
            logits = logits * self.multiplier
        if self.divisor is not None:
            logits = logits / self.divisor
        if self.soft_cap is not None:
            logits = torch.tanh(logits / self.soft_cap) * self.soft_cap
        return logits


def build_head(text_config: PreTrainedConfig) -> nn.Linear:
    """Returns a fresh head with the widths and the bias of the family's own.

    Raises:
        ValueError: the family's head is not one linear map.
    """
    # The family's own class, without memory: widths and biases follow no common rule.
    with torch.device("meta"):
        stock = AutoModelForCausalLM.from_config(copy.deepcopy(text_config))
    head = stock.get_output_embeddings()
    if not isinstance(head, nn.Linear):
        raise ValueError(
            f"the head of {type(stock).__name__} is {type(head).__name__}; expected one linear "
            "map, which every causal language model this package supports has"
        )
    return nn.Linear(head.in_features, head.out_features, bias=head.bias is not None)
