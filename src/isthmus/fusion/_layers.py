"""Giving the layers of any language model of transformers something of their own to do.

A layer's class is exchanged for a subclass made on the spot, which takes one more keyword, the
route, and hands all others on. So no family's code is copied, and no weight changes its name. The
route travels as a keyword through the language model's own forward; a family that drops it on the
way is found out when the model is built.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

ROUTE = "visual_route"
"""Keyword under which layers get the route."""
_PROBE_TOKENS = 4


class Route:
    """What the layers of one forward pass are told; it counts the layers that heard of it."""

    visits = 0


class RoutedLayer:
    """What is put in front of a layer's class: it takes the route out of the keywords."""

    def forward(self, hidden_states: Any, *args: Any, **kwargs: Any) -> Any:
        """Runs the layer, or what a fusion makes of it, with the route at hand."""
        route = kwargs.pop(ROUTE, None)
        if route is None:
            return super().forward(hidden_states, *args, **kwargs)  # type: ignore[misc]
        if not torch.compiler.is_compiling():
            route.visits += 1
        return self.fused(route, hidden_states, *args, **kwargs)

    def fused(self, route: Any, hidden_states: Any, *args: Any, **kwargs: Any) -> Any:
        """Runs the layer on a route."""
        raise NotImplementedError

    def bare(self, hidden_states: Any, *args: Any, **kwargs: Any) -> Any:
        """Runs the layer as the family wrote it."""
        return super().forward(hidden_states, *args, **kwargs)  # type: ignore[misc]


def layers_of(language_model: PreTrainedModel) -> list[nn.Module]:
    """Returns the layers that read the text, first to last: of the encoder, where there is one.

    Raises:
        ValueError: the family does not mark its layers.
    """
    body = language_model.get_encoder() if language_model.config.is_encoder_decoder else None
    found: list[nn.Module] = [
        module
        for module in (body or language_model).modules()
        if isinstance(module, GradientCheckpointingLayer)
    ]
    if not found:
        raise ValueError(
            f"{type(language_model).__name__} has no layers that can be told from its other parts "
            "(GradientCheckpointingLayer); choose another language model, or the fusion 'inline'"
        )
    return found


def chosen_layers(num_layers: int, *, every: int, layers: Sequence[int]) -> list[int]:
    """Returns the numbers of the layers that take part.

    Raises:
        ValueError: a number names no layer.
    """
    if wrong := [number for number in layers if not 0 <= number < num_layers]:
        raise ValueError(
            f"fusion.layers names layer {wrong[0]}; the language model has layers 0 to "
            f"{num_layers - 1}"
        )
    return sorted(set(layers)) if layers else list(range(0, num_layers, every))


def reroute(layer: nn.Module, mixin: type[RoutedLayer]) -> None:
    """Exchanges the class of a layer for one that takes the route."""
    layer.__class__ = fronted(type(layer), mixin)


_MADE: dict[tuple[type, type], type] = {}


def fronted(own: type, front: type) -> Any:
    """Returns a subclass of a module's class that has another class in front.

    It keeps the family's own name: transformers finds layers that must not be split by it.
    """
    if (own, front) not in _MADE:
        _MADE[own, front] = type(own.__name__, (front, own), {"__module__": own.__module__})
    return _MADE[own, front]


@torch.no_grad()
def check_visits(
    language_model: PreTrainedModel,
    route_of: Callable[[Bool[Tensor, "batch seq"]], Route],
    num_layers: int,
) -> None:
    """Checks that a family hands the route on to its layers.

    Args:
        language_model: with rerouted layers.
        route_of: makes the route of a sample, given the place of its only visual token.
        num_layers: layers that have to hear of it.

    Raises:
        ValueError: it does not.
    """
    if language_model.device.type == "meta":
        return
    body: Any = language_model
    if language_model.config.is_encoder_decoder:
        body = language_model.get_encoder()
    name, training = type(language_model).__name__, language_model.training
    language_model.eval()
    table = language_model.get_input_embeddings()
    marks = torch.zeros(1, _PROBE_TOKENS, dtype=torch.bool, device=language_model.device)
    marks[0, 1] = True
    route = route_of(marks)
    embeds = table(torch.zeros(1, _PROBE_TOKENS, dtype=torch.long, device=language_model.device))
    try:
        body(inputs_embeds=embeds, **{ROUTE: route})
    except TypeError as error:
        raise ValueError(_refusal(name, f"it refuses the keyword ({error})")) from error
    finally:
        language_model.train(training)
    require_visits(name, route, num_layers)


def require_visits(name: str, route: Route, num_layers: int) -> None:
    """Checks after a forward pass of a language model that every layer heard of the route.

    Raises:
        ValueError: some did not, so that images were read as if they were text.
    """
    if route.visits < num_layers and not torch.compiler.is_compiling():
        raise ValueError(_refusal(name, f"{route.visits} of {num_layers} layers got the route"))


def _refusal(name: str, reason: str) -> str:
    return (
        f"{name} does not hand keywords on to its layers: {reason}; choose "
        "another language model, or the fusion 'inline'"
    )
