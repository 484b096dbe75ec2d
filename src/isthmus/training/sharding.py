"""Weights in shards: FSDP2 by Accelerate, for models that outgrow one device.

Each layer of the language model, with what a fusion put into it, is gathered when it is due. All
else is gathered for the whole step: a process whose samples show no image runs no tower, and would
leave the others waiting for it.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.fsdp.wrap import transformer_auto_wrap_policy
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.optim import Optimizer
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from isthmus.training.models import AlignmentConfig
from isthmus.training.stage import Recipe


def is_sharded(accelerator: Accelerator) -> bool:
    """Returns whether each process holds a part of every weight."""
    return accelerator.distributed_type == DistributedType.FSDP


def check_plugin(plugin: FullyShardedDataParallelPlugin) -> None:
    """Checks what a launcher asked for.

    Raises:
        ValueError: it asked for the first FSDP, or for what a stage decides.
    """
    if plugin.fsdp_version != 2:
        raise ValueError(
            f"accelerate launch was asked for FSDP {plugin.fsdp_version}; give --fsdp_version 2, "
            "which lets weights that learn and frozen ones share a layer"
        )
    if plugin.activation_checkpointing:
        raise ValueError(
            "accelerate launch was given --fsdp_activation_checkpointing; leave it out, and set "
            "the stage's gradient_checkpointing"
        )


def check_recipe(recipe: Recipe, flag: str) -> None:
    """Checks that the models of a recipe can be shared out, before any is built.

    Args:
        recipe: models and stages.
        flag: by which it was asked for.

    Raises:
        ValueError: one of them cannot.
    """
    for stage, model in zip(recipe.stages, recipe.models, strict=True):
        refused = f"stage {stage.name!r} cannot be sharded:"
        if isinstance(model, AlignmentConfig):
            raise ValueError(
                f"{refused} what is shared out are the layers of a language model, and a model "
                f"that holds images and texts together has none; leave out {flag}"
            )
        if model.four_bit:
            raise ValueError(
                f"{refused} weights of four bits are not shared out; leave out {flag}, or set "
                "model.four_bit to False"
            )


def gathered_alone(language_model: nn.Module) -> list[nn.Module]:
    """Returns the layers of a language model that are each gathered when they are due."""
    return [m for m in language_model.modules() if isinstance(m, GradientCheckpointingLayer)]


def group_layers(plugin: FullyShardedDataParallelPlugin, language_model: PreTrainedModel) -> None:
    """Tells Accelerate to gather each layer of a language model by itself.

    Accelerate knows layers by the name of their class, which a language adapter may share; so those
    that are meant get classes of their own.

    Args:
        plugin: of the accelerator.
        language_model: whose layers change their class, and nothing else.
    """
    names = set()
    for layer in gathered_alone(language_model):
        kind = type(layer)
        layer.__class__ = type(f"Sharded{kind.__name__}", (kind,), {})
        names.add(layer.__class__.__name__)
    plugin.transformer_cls_names_to_wrap = sorted(names)
    plugin.auto_wrap_policy = transformer_auto_wrap_policy
    plugin.cpu_ram_efficient_loading = False  # each process has read the weights


def forget_gathered(module: nn.Module) -> None:
    """Frees gathered weights, which may differ from the shards by now; else nothing happens.

    A backward pass does so; where there is none, what lies outside of the layers stays whole.
    """
    for each in module.modules():
        if isinstance(each, FSDPModule):
            each.reshard()


def touched(module: nn.Module) -> Tensor:
    """Returns 0, as far as gradients tell, of all that learns outside of the layers.

    So each process has a gradient of the same weights, whatever its samples show.

    Args:
        module: sharded, in its forward pass.
    """
    learning = [value for value in _loose(module, module) if value.requires_grad]
    if not learning:
        return torch.zeros(())
    return 0.0 * torch.stack([value.flatten()[0].float() for value in learning]).sum()


def _loose(module: nn.Module, root: nn.Module) -> Iterator[nn.Parameter]:
    if isinstance(module, FSDPModule) and module is not root:
        return
    yield from module.parameters(recurse=False)
    for child in module.children():
        yield from _loose(child, root)


def own(value: Tensor) -> Tensor:
    """Returns what this process holds of a tensor: a view, so that writing to it changes that."""
    return value.to_local() if isinstance(value, DTensor) else value


def whole(value: Tensor) -> Tensor:
    """Returns a whole tensor; every process has to ask, where it is in shards."""
    return value.full_tensor() if isinstance(value, DTensor) else value


def gathered(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns whole tensors, one after another; those that were in shards come to the CPU."""
    return {
        name: whole(value).cpu() if isinstance(value, DTensor) else value
        for name, value in values.items()
    }


def like(value: Tensor, other: Tensor) -> Tensor:
    """Returns a whole tensor in the shards of another of its shape."""
    if not isinstance(other, DTensor) or isinstance(value, DTensor):
        return value
    return distribute_tensor(value.to(other.device), other.device_mesh, other.placements)


def optimizer_state(optimizer: Optimizer) -> dict[str, Any]:
    """Returns the state of an optimizer with whole tensors; every process has to ask."""
    state = optimizer.state_dict()
    moments = {number: gathered(held) for number, held in state["state"].items()}
    return {**state, "state": moments}


def load_optimizer_state(optimizer: Optimizer, state: Mapping[str, Any]) -> None:
    """Puts whole tensors into an optimizer, in the shards of what learns."""
    learning = [value for group in optimizer.param_groups for value in group["params"]]
    held = {
        number: {
            name: like(value, learning[number]) if value.shape == learning[number].shape else value
            for name, value in moments.items()
        }
        for number, moments in state["state"].items()
    }
    optimizer.load_state_dict({**state, "state": held})
