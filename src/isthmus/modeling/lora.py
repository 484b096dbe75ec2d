"""Low-rank updates beside frozen linear layers, by PEFT: put in, counted, and merged again."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import LoraLayer
from torch import nn
from transformers.pytorch_utils import Conv1D

from isthmus.config import Config
from isthmus.modeling.parts import ModelPart

_MARK = "lora_"
"""What the names of PEFT's own parameters hold."""

_LINEAR = (nn.Linear, Conv1D)


@final
@dataclass(frozen=True, kw_only=True)
class Lora(Config):
    """Low-rank updates of a part's linear layers, which stay as they are.

    Paper: Hu et al., LoRA, arXiv 2106.09685: W + (alpha / rank) B A, with B zero at first.
    """

    rank: int = 16
    """Columns of B and rows of A."""
    alpha: int = 32
    """Scale of the update, times the rank."""
    dropout: float = 0.0
    """Share of an updated layer's inputs that the update does not see in a step."""
    targets: tuple[str, ...] = ()
    """Ends of the names of the layers (`q_proj`, `self_attn.v_proj`); all linear ones if none."""

    def __post_init__(self) -> None:
        """Checks the rank.

        Raises:
            ValueError: it is not positive.
        """
        if self.rank < 1:
            raise ValueError(f"rank is {self.rank}; expected 1 or more")


def add_lora(part: ModelPart, lora: Lora) -> None:
    """Puts updates beside the linear layers inside a part; a second call changes nothing.

    A module that is a linear layer itself, as a language model's head is, stays without one.

    Raises:
        ValueError: a target names no linear layer.
    """
    if any(isinstance(module, LoraLayer) for _, module in part.named_modules()):
        return
    linear = _linear_names(part)
    for target in lora.targets:
        if not any(_hit(name, (target,)) for names in linear for name in names):
            known = sorted({name.rsplit(".", 1)[-1] for names in linear for name in names})
            raise ValueError(f"no linear layer is called {target!r}; there are {', '.join(known)}")
    for module, own in zip(part.roots, linear, strict=True):
        names = [n for n in own if not lora.targets or _hit(n, lora.targets)]
        if not names:
            continue
        config = LoraConfig(
            r=lora.rank, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=names
        )
        with warnings.catch_warnings():
            # PEFT sees GPT-2's transposed layers by itself, and says so.
            warnings.filterwarnings("ignore", message="fan_in_fan_out")
            inject_adapter_in_model(config, module)


def lora_parameters(part: ModelPart) -> list[nn.Parameter]:
    """Returns the parameters of the updates inside a part."""
    found = (p for n, m in part.named_modules() if _MARK in n for p in m.parameters(recurse=False))
    return list({id(parameter): parameter for parameter in found}.values())


def merge_lora(part: ModelPart) -> None:
    """Adds the updates to the weights beside them, and takes the layers of PEFT out again."""
    for _, parent in list(part.named_modules()):
        for name, child in parent.named_children():
            if isinstance(child, LoraLayer):
                child.merge()
                setattr(parent, name, child.get_base_layer())


def _linear_names(part: ModelPart) -> list[list[str]]:
    """Returns the names of the linear layers below each root of a part."""
    found: list[list[str]] = [[] for _ in part.roots]
    for path, module in part.named_modules():
        number, _, name = path.partition(".")
        if name and isinstance(module, _LINEAR):
            found[int(number)].append(name)
    return found


def _hit(name: str, targets: Sequence[str]) -> bool:
    return any(name == target or name.endswith(f".{target}") for target in targets)
