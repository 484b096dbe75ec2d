"""The arms of the study of bridges: every connector, and every fusion, at the microworld's size.

Connectors that choose their number of tokens give `TOKENS` of them, a quarter of the patches.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, final

from isthmus import connectors, fusion
from isthmus.connectors import ConnectorConfig
from isthmus.connectors.attentional_pooler import AttentionalPooler
from isthmus.connectors.c_abstractor import CAbstractor
from isthmus.connectors.d_abstractor import DAbstractor
from isthmus.connectors.glu import GLU
from isthmus.connectors.honeybee_resampler import HoneybeeResampler
from isthmus.connectors.idefics2_resampler import Idefics2Resampler
from isthmus.connectors.language_adapter import LanguageAdapter
from isthmus.connectors.linear import Linear
from isthmus.connectors.mlp import MLP
from isthmus.connectors.perceiver_resampler import PerceiverResampler
from isthmus.connectors.pixel_shuffle import PixelShuffle
from isthmus.connectors.qformer import QFormer
from isthmus.fusion import FusionConfig
from isthmus.fusion.gated_cross_attention import GatedCrossAttention
from isthmus.fusion.inline import Inline
from isthmus.fusion.visual_expert import VisualExpert

LANGUAGE = "microworld:lm_chat"
"""The language model of every arm."""
SMALL_LANGUAGE = "microworld:lm_tiny"
"""The language model inside the language adapter."""
TOKENS = 16
"""Visual tokens of the connectors that choose their number."""
HEADS = 4
D_HEAD = 32
"""Together as wide as a patch."""
LINEAR_LR, PERCEPTRON_LR, LAYERED_LR, FUSION_LR = 3e-3, 1e-3, 3e-4, 1e-3
"""Learning rates of what is new: the more layers it has, the slower it may move, so that the
language model can learn to read it meanwhile."""
RATES = (3e-3, 1e-3, 3e-4)
"""What `--pilot` tries."""

INLINE = "inline"
"""The fusion of all connectors' arms, which needs none of its own."""


@final
@dataclass(frozen=True, kw_only=True)
class Arm:
    """What stands between the towers, and how fast it learns."""

    connector: ConnectorConfig
    lr: float
    """Of the connector and the fusion."""
    fusion: FusionConfig = field(default_factory=Inline.Config)
    start: str | None = None
    """Pretrained model that the connector starts from."""

    @property
    def name(self) -> str:
        """The fusion, or the connector where visual tokens stand in the text."""
        return self.connector.kind if self.fusion.kind == INLINE else self.fusion.kind


def arms() -> dict[str, Arm]:
    """Returns all arms by name.

    Raises:
        ValueError: a connector or a fusion of the package has none.
    """
    found = {arm.name: arm for arm in _arms()}
    check(found)
    return found


def check(found: Mapping[str, Arm]) -> None:
    """Checks that nothing in the folders of connectors and fusions is left out.

    Raises:
        ValueError: something is.
    """
    every = {"connectors": connectors.names(), "fusion": fusion.names()}
    for package, kinds in every.items():
        for kind in kinds:
            if kind not in found and kind != INLINE:
                raise ValueError(
                    f"src/isthmus/{package}/{kind}.py has no arm in the study of bridges; add one "
                    "in benchmarks/bridges_arms.py"
                )


def _arms() -> Iterator[Arm]:
    yield Arm(connector=Linear.Config(), lr=LINEAR_LR)
    yield Arm(connector=MLP.Config(), lr=PERCEPTRON_LR)
    yield Arm(connector=GLU.Config(), lr=PERCEPTRON_LR)
    yield Arm(connector=PixelShuffle.Config(), lr=LINEAR_LR)
    heads: dict[str, Any] = {"num_heads": HEADS, "d_head": D_HEAD}
    width = HEADS * D_HEAD
    layered: tuple[ConnectorConfig, ...] = (
        CAbstractor.Config(num_queries=TOKENS, depth=1),
        DAbstractor.Config(num_queries=TOKENS, depth=2, num_heads=HEADS),
        AttentionalPooler.Config(num_queries=TOKENS, **heads),
        PerceiverResampler.Config(num_latents=TOKENS, depth=2, **heads),
        HoneybeeResampler.Config(num_queries=TOKENS, depth=2, d_hidden=width, num_heads=HEADS),
        Idefics2Resampler.Config(num_latents=TOKENS, depth=2, ffn_multiplier=2, **heads),
        QFormer.Config(
            num_queries=TOKENS,
            depth=2,
            d_hidden=width,
            num_heads=HEADS,
            cross_attention_every=1,
        ),
    )
    for each in layered:
        yield Arm(connector=each, lr=LAYERED_LR)
    one_layer = PerceiverResampler.Config(num_latents=TOKENS, depth=1, final_norm=False, **heads)
    adapter = LanguageAdapter.Config(resampler=one_layer)
    yield Arm(connector=adapter, start=SMALL_LANGUAGE, lr=LAYERED_LR)
    fusions: tuple[FusionConfig, ...] = (
        VisualExpert.Config(),
        GatedCrossAttention.Config(every=2, **heads),
    )
    for one in fusions:
        yield Arm(connector=MLP.Config(), fusion=one, lr=FUSION_LR)
