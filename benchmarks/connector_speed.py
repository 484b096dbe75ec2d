"""Connectors at the sizes of their papers beside transformers' own classes, forward and backward.

`python -m benchmarks.connector_speed --output FILE`

One number per connector: its time in units of the stock class's, on the same inputs, without
dropout, with scaled dot product attention where the stock class offers it; the median of ratios
within rounds, on this machine's CPU, float32; each class's weights are the later ones in memory in
half of the rounds. Beside it the quartiles of these ratios, and the
median of those in processor time. The D-Abstractor's is that of its deformable attention, which is
all that transformers has of it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import Any, final

import torch
import tyro
from torch import Tensor, nn
from transformers import (
    Blip2QFormerConfig,
    Blip2QFormerModel,
    DeformableDetrConfig,
    Idefics2Config,
    IdeficsConfig,
    LlavaConfig,
    ResNetConfig,
)
from transformers.models.deformable_detr.modeling_deformable_detr import (
    DeformableDetrMultiscaleDeformableAttention,
)
from transformers.models.idefics.perceiver import IdeficsPerceiverResampler
from transformers.models.idefics2.modeling_idefics2 import Idefics2Connector
from transformers.models.idefics3.modeling_idefics3 import Idefics3Config, Idefics3Connector
from transformers.models.llava.modeling_llava import LlavaMultiModalProjector

from benchmarks.outcome import publish
from benchmarks.side_by_side import Ratios, compare
from isthmus.axes import Patches
from isthmus.connectors import ConnectorConfig
from isthmus.connectors._deformable import DeformableAttention
from isthmus.connectors.idefics2_resampler import Idefics2Resampler
from isthmus.connectors.mlp import MLP
from isthmus.connectors.perceiver_resampler import PerceiverResampler
from isthmus.connectors.pixel_shuffle import PixelShuffle
from isthmus.connectors.qformer import QFormer

D_TEXT = 4096
IMAGES = 2
HEADS = {"num_attention_heads": 16}

Pair = tuple["Side", "Side"]
"""The stock class and ours."""


@final
@dataclass(frozen=True)
class Options:
    """Measure the connectors."""

    output: Path | None = None
    """JSON file that gets the numbers, too."""
    repetitions: int = 9
    """Rounds of measurement; one more warms up."""


@final
@dataclass(frozen=True)
class Side:
    """One of two classes that do the same."""

    forward: Callable[[], Tensor]
    leaves: list[Tensor]
    """All that gets a gradient: its weights and its inputs."""

    def step(self) -> None:
        """Runs forward and backward, and drops the gradients, as each step of training does."""
        self.forward().square().sum().backward()
        for leaf in self.leaves:
            leaf.grad = None


def main(options: Options) -> None:
    """Measures and publishes."""
    torch.manual_seed(0)
    found = {name: _measure(make, options.repetitions) for name, make in PAIRS.items()}
    numbers: dict[str, Any] = {name: median(each.clock) for name, each in found.items()}
    numbers["quartiles"] = {name: quantiles(each.clock)[::2] for name, each in found.items()}
    numbers["processor_time"] = {name: median(each.processor) for name, each in found.items()}
    command = f"python -m benchmarks.connector_speed --repetitions {options.repetitions}"
    publish(numbers, options.output, command=command)


def _measure(make: Callable[[], Pair], repetitions: int) -> Ratios:
    stock, ours = make()
    ways = {"stock": stock.step, "ours": ours.step}
    first = compare(ways, base="stock", repetitions=(repetitions + 1) // 2)["ours"]
    # Of two gigabytes of weights, those that were allocated last are read more slowly, by some 5 %:
    # in the other half of the rounds these are the stock class's.
    _allocate_anew(stock)
    second = compare(ways, base="stock", repetitions=repetitions // 2)["ours"]
    return Ratios(first.clock + second.clock, first.processor + second.processor)


def _allocate_anew(side: "Side") -> None:
    copies = [leaf.detach().clone() for leaf in side.leaves]  # all, before the first is given back
    for leaf, copy in zip(side.leaves, copies, strict=True):
        leaf.data = copy


def _side(module: nn.Module, forward: Callable[[], Tensor], *inputs: Tensor) -> Side:
    module.eval()
    return Side(forward, [*module.parameters(), *inputs])


def _ours(
    config: ConnectorConfig, features: Tensor, grid: tuple[int, int], d_text: int = D_TEXT
) -> Side:
    connector = config.build(d_vision=features.shape[-1], d_text=d_text, grid=grid)
    patches = Patches(features=features, grid=grid)
    return _side(connector, lambda: connector(patches), features)


def _features(grid: tuple[int, int], width: int) -> Tensor:
    return torch.randn(IMAGES, grid[0] * grid[1], width, requires_grad=True)


def _mlp() -> Pair:
    """LLaVA-1.5 at 336 pixels."""
    stock = LlavaMultiModalProjector(
        LlavaConfig(
            vision_config={"model_type": "clip_vision_model", "hidden_size": 1024, **HEADS},
            text_config={"hidden_size": D_TEXT},
        )
    )
    features = _features((24, 24), 1024)
    ours = _ours(MLP.Config(), features, (24, 24))
    return _side(stock, lambda: stock(features), features), ours


def _pixel_shuffle() -> Pair:
    """Idefics3 at 364 pixels."""
    stock = Idefics3Connector(
        Idefics3Config(
            scale_factor=2,
            vision_config={"hidden_size": 1152, **HEADS},
            text_config={"model_type": "llama", "hidden_size": D_TEXT},
        )
    )
    features = _features((26, 26), 1152)
    ours = _ours(PixelShuffle.Config(factor=2), features, (26, 26))
    return _side(stock, lambda: stock(features), features), ours


def _perceiver() -> Pair:
    """The resampler of Idefics-9B."""
    stock = IdeficsPerceiverResampler(
        IdeficsConfig(vision_config={"embed_dim": 1280}), 1280, 6, 16, 96, 64
    )
    features = _features((16, 16), 1280)
    config = PerceiverResampler.Config(num_heads=16, d_head=96, activation="relu", project=False)
    ours = _ours(config, features, (16, 16), 1280)
    return _side(stock, lambda: stock(features), features), ours


def _idefics2() -> Pair:
    """Idefics2-8B."""
    config = Idefics2Config(
        vision_config={"hidden_size": 1152, **HEADS},
        text_config={"model_type": "mistral", "hidden_size": D_TEXT, "intermediate_size": 14336},
        perceiver_config={"hidden_size": D_TEXT},
    )
    perceiver: Any = config.perceiver_config
    perceiver._attn_implementation = "sdpa"
    stock = Idefics2Connector(config)
    features, seen = _features((16, 16), 1152), torch.ones(IMAGES, 256, dtype=torch.bool)
    ours = _ours(Idefics2Resampler.Config(d_projection=14336), features, (16, 16))
    return _side(stock, lambda: stock(features, seen), features), ours


def _qformer() -> Pair:
    """BLIP-2 with ViT-g and OPT 2.7B: 16 x 16 patches and the class token.

    The norm in front of the Q-Former and the map behind it, which ours holds, stand outside the
    stock class.
    """
    config = Blip2QFormerConfig(encoder_hidden_size=1408)
    body = Blip2QFormerModel._from_config(config, attn_implementation="sdpa")
    norm, projection = nn.LayerNorm(1408), nn.Linear(768, 2560)
    queries = nn.Parameter(torch.randn(1, 32, 768))
    features = _features((1, 257), 1408)

    def run() -> Tensor:
        asked = queries.expand(IMAGES, -1, -1)
        read = body(query_embeds=asked, encoder_hidden_states=norm(features))
        return projection(read.last_hidden_state)

    stock = nn.ModuleList([norm, body, projection])
    ours = _ours(QFormer.Config(), features, (1, 257), 2560)
    return _side(stock, run, queries, features), ours


def _deformable() -> Pair:
    """The attention of a layer of Honeybee's D-Abstractor, 144 tokens."""
    width, heads, points, grid, queries = 1024, 8, 4, (16, 16), 144
    config = DeformableDetrConfig(
        backbone_config=ResNetConfig(), d_model=width, num_feature_levels=1
    )
    stock: Any = DeformableDetrMultiscaleDeformableAttention(config, heads, points)
    ours = DeformableAttention(width, num_heads=heads, num_points=points, num_levels=1)
    features = _features(grid, width)
    asked = torch.randn(IMAGES, queries, width, requires_grad=True)
    where = torch.rand(queries, 2, requires_grad=True)
    shapes = {
        "spatial_shapes": torch.tensor([grid]),
        "spatial_shapes_list": [grid],
        "level_start_index": torch.zeros(1, dtype=torch.long),
    }

    def run() -> Tensor:
        return stock(
            hidden_states=asked,
            encoder_hidden_states=features,
            reference_points=where[None, :, None].expand(IMAGES, -1, -1, -1),
            **shapes,
        )[0]

    inputs = (features, asked, where)
    return (
        _side(stock, run, *inputs),
        _side(ours, lambda: ours(asked, where, features, grid), *inputs),
    )


PAIRS: dict[str, Callable[[], Pair]] = {
    "mlp": _mlp,
    "pixel_shuffle": _pixel_shuffle,
    "perceiver_resampler": _perceiver,
    "idefics2_resampler": _idefics2,
    "qformer": _qformer,
    "d_abstractor": _deformable,
}


if __name__ == "__main__":
    main(tyro.cli(Options, prog="python -m benchmarks.connector_speed", description=__doc__))
