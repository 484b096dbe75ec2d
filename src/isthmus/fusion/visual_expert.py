"""Visual expert: in every layer, visual tokens go through weights of their own.

Visual tokens stand in the text as with inline fusion, and all positions attend to each other as
ever. But each map of a layer exists twice: the language model's, for the text, and the expert's,
for the visual tokens. With no image in sight, the language model is what it was.

Which maps are doubled, how their experts begin, and in which layers, is set per role. CogVLM
copies all maps in all layers; experts of attention alone or of the feed-forward part alone, every
k-th layer, and low-rank experts (partial LoRA) are settings of the same.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, final, get_args

import torch
from jaxtyping import Bool, Int
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from isthmus.fusion._layers import (
    ROUTE,
    check_visits,
    chosen_layers,
    layers_of,
    require_visits,
    reroute,
)
from isthmus.fusion._layout import check_layout, place_in_image, steps_of
from isthmus.fusion._roles import (
    Current,
    Experts,
    RoleLayer,
    Roles,
    Weights,
    add_bias,
    expert_of,
    go_by_role,
)
from isthmus.fusion.base import Fusion, Prompt
from isthmus.fusion.inline import InTextConfig, in_text

Role = Literal["norm", "qkv", "output", "mlp"]
ROLES: tuple[Role, ...] = get_args(Role)
OUTPUTS = ("o_proj", "out_proj", "c_proj", "dense", "wo", "o")
"""Names that families give to the map behind their attention."""


@final
class VisualExpert(Fusion):
    """Gives visual tokens weights of their own in the layers of a language model.

    Paper: CogVLM, arXiv 2311.03079, section 2.1 and equations 1 and 2; its ablations, table 6.
        Low-rank: partial LoRA, InternLM-XComposer2, arXiv 2401.16420, section 3.2.
    Differs: CogVLM finds the last token of an image by its right neighbour, so that two images
        without text between them become one; here each image ends where its own tokens end.
    """

    @final
    @dataclass(frozen=True, kw_only=True)
    class Config(InTextConfig):
        """What each role goes through, and where. The defaults are CogVLM's."""

        norm: Weights = "shared"
        """Layer norms; not `low_rank`. Absent, they leave visual tokens as they are."""
        qkv: Weights = "copied"
        """Maps to queries, keys and values; not `absent`."""
        qkv_bias: bool = False
        """Whether the experts of queries, keys and values have a bias where the language model's
        maps have none (CogVLM2)."""
        output: Weights = "copied"
        """Map behind the attention."""
        mlp: Weights = "copied"
        """Maps of the feed-forward part."""
        rank: int = 64
        """Rank of low-rank experts."""
        every: int = 1
        """Every so many-th layer has experts, from the first on."""
        layers: tuple[int, ...] = ()
        """Numbers of the layers that have experts, from 0; given by `every` when empty."""
        last_token: Literal["language", "visual"] = "language"
        """Whose weights the last visual token of an image goes through. It is where the image ends
        and the words begin."""
        positions: Literal["sequential", "shared"] = "shared"
        """See `InTextConfig`."""

        def __post_init__(self) -> None:
            """Checks that there are experts.

            Raises:
                ValueError: there are none, or a count or a norm is impossible.
            """
            if all(getattr(self, role) == "shared" for role in ROLES):
                raise ValueError(
                    "visual_expert shares every role, so that there is no expert; use the fusion "
                    "'inline'"
                )
            if self.norm == "low_rank":
                raise ValueError("visual_expert.norm is 'low_rank'; a norm has no rank: copy it")
            if self.qkv == "absent":
                raise ValueError(
                    "visual_expert.qkv is 'absent'; without keys and values no word would see an "
                    "image: share it, or give it weights"
                )
            for name in ("rank", "every"):
                if (value := getattr(self, name)) < 1:
                    raise ValueError(f"visual_expert.{name} is {value}; expected 1 or more")
            if self.layers and self.every != 1:
                raise ValueError(
                    f"visual_expert.layers and .every = {self.every} both choose layers; give one"
                )

    def __init__(
        self,
        config: Config,
        language_model: PreTrainedModel,
        *,
        boundaries: tuple[int, int],
    ) -> None:
        """Puts experts beside the maps of the chosen layers.

        Raises:
            ValueError: the family has no such maps, or does not tell its layers of images.
        """
        super().__init__()
        check_layout(
            language_model, positions=config.positions, image_attention=config.image_attention
        )
        self.config, self.boundaries = config, boundaries
        self.language, self.language_name = language_model.config, type(language_model).__name__
        every_layer = layers_of(language_model)
        numbers = chosen_layers(len(every_layer), every=config.every, layers=config.layers)
        std = getattr(language_model.config, "initializer_range", None) or 0.02
        # A plain list: the layers belong to the language model.
        self.layers = [every_layer[number] for number in numbers]
        for layer in self.layers:
            _add_experts(layer, config, std)
        check_visits(language_model, lambda marks: Roles(marks, 1), len(self.layers))

    def forward(self, prompt: Prompt) -> tuple[Tensor, dict[str, Any]]:
        """Puts the visual tokens in their places, and tells the layers which ones they are."""
        embeds, told = in_text(prompt, self.language, self.config, self.boundaries)
        images, tokens = prompt.visual.shape[:2]
        if not images and not (self.training and torch.is_grad_enabled()):
            return embeds, told
        visual, num_visual = prompt.placeholders, images * tokens
        if self.config.last_token == "language" and tokens:
            visual = visual & (place_in_image(visual, tokens) < tokens - 1)
            num_visual = images * (tokens - 1)
        return embeds, {**told, ROUTE: Roles(visual, num_visual)}

    def steps(
        self, placeholders: Bool[Tensor, "batch seq"], num_tokens: int
    ) -> Int[Tensor, "batch seq"]:
        """Returns how far each position is from the one before; see `Fusion.steps`."""
        return steps_of(placeholders, num_tokens, self.config.shared(self.boundaries))

    def check(self, told: dict[str, Any]) -> None:
        """Checks that all layers with experts heard which tokens are visual; see `Fusion.check`."""
        if route := told.get(ROUTE):
            require_visits(self.language_name, route, len(self.layers))

    def parts(self) -> list[nn.Module]:
        """Returns the experts of each layer."""
        return [layer.get_submodule("visual_expert") for layer in self.layers]


def _add_experts(layer: nn.Module, config: VisualExpert.Config, std: float) -> None:
    found = {path: (module, role) for path, module, role in _roles(layer)}
    layer.visual_expert = nn.ModuleDict()
    layer.current = Current()  # type: ignore[assignment]
    experts = Experts(layer.visual_expert)
    for path, (module, role) in found.items():
        weights: Weights = getattr(config, role)
        if weights == "shared":
            continue
        key = path.replace(".", "__")
        expert = expert_of(module, weights, rank=config.rank, std=std)
        if role == "qkv" and config.qkv_bias and weights in ("copied", "random"):
            add_bias(expert)
        layer.visual_expert[key] = expert
        go_by_role(module, current=layer.current, experts=experts, key=key)  # type: ignore[arg-type]
    absent = {role for role in ROLES if getattr(config, role) != "shared"}
    if missing := sorted(absent - {role for _, role in found.values()}):
        raise ValueError(
            f"{type(layer).__name__} has no maps of the role {missing[0]!r} that experts could "
            "stand beside; set it to 'shared', or choose another language model"
        )
    reroute(layer, RoleLayer)


def _roles(layer: nn.Module) -> Iterator[tuple[str, nn.Module, Role]]:
    """Yields the modules of a layer that have a role, with their paths."""
    for path, module in layer.named_modules():
        parents = [layer.get_submodule(path.rpartition(".")[0])] if "." in path else []
        in_attention = any("attention" in type(parent).__name__.lower() for parent in parents)
        if isinstance(module, nn.Linear | Conv1D):
            if in_attention:
                yield path, module, "output" if path.rpartition(".")[2] in OUTPUTS else "qkv"
            else:
                yield path, module, "mlp"
        elif "norm" in type(module).__name__.lower() and not in_attention:
            yield path, module, "norm"


FUSION = VisualExpert
