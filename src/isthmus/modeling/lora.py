"""Low-rank updates beside frozen linear layers, by PEFT: put in, counted, and merged again."""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import final

from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import LoraLayer
from torch import nn
from transformers.pytorch_utils import Conv1D

from isthmus.config import Config

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


def add_lora(modules: Sequence[nn.Module], lora: Lora) -> None:
    """Puts updates beside the linear layers inside some modules; a second call changes nothing.

    A module that is a linear layer itself, as a language model's head is, stays without one.

    Raises:
        ValueError: a target names no linear layer.
    """
    inner = [module for module in modules if any(module.children())]
    if any(isinstance(each, LoraLayer) for module in inner for each in module.modules()):
        return
    linear = {id(m): _linear_names(m) for m in inner}
    for target in lora.targets:
        if not any(_hit(name, (target,)) for names in linear.values() for name in names):
            known = sorted({name.rsplit(".", 1)[-1] for names in linear.values() for name in names})
            raise ValueError(f"no linear layer is called {target!r}; there are {', '.join(known)}")
    for module in inner:
        names = [n for n in linear[id(module)] if not lora.targets or _hit(n, lora.targets)]
        if not names:
            continue
        config = LoraConfig(
            r=lora.rank, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=names
        )
        with warnings.catch_warnings():
            # PEFT sees GPT-2's transposed layers by itself, and says so.
            warnings.filterwarnings("ignore", message="fan_in_fan_out")
            inject_adapter_in_model(config, module)


def lora_parameters(modules: Sequence[nn.Module]) -> list[nn.Parameter]:
    """Returns the parameters of the updates inside some modules."""
    return [p for m in modules for name, p in m.named_parameters() if _MARK in name]


def merge_lora(modules: Sequence[nn.Module]) -> None:
    """Adds the updates to the weights beside them, and takes the layers of PEFT out again."""
    for module in modules:
        for parent, name, layer in list(_lora_layers(module)):
            layer.merge()
            setattr(parent, name, layer.get_base_layer())


def _lora_layers(module: nn.Module) -> Iterator[tuple[nn.Module, str, LoraLayer]]:
    for parent in module.modules():
        for name, child in parent.named_children():
            if isinstance(child, LoraLayer):
                yield parent, name, child


def _linear_names(module: nn.Module) -> list[str]:
    return [name for name, m in module.named_modules() if name and isinstance(m, _LINEAR)]


def _hit(name: str, targets: Sequence[str]) -> bool:
    return any(name == target or name.endswith(f".{target}") for target in targets)
