"""The models of recipes: which pretrained parts they are built from, and what goes between them."""

from dataclasses import dataclass, field
from typing import final

from isthmus.config import Config
from isthmus.connectors.base import ConnectorConfig
from isthmus.connectors.qformer import QFormer
from isthmus.fusion import FusionConfig
from isthmus.fusion.inline import Inline
from isthmus.geometry.resize import ResizeStrategy
from isthmus.vision.choice import PENULTIMATE, Layers, TowerChoice


@final
@dataclass(frozen=True, kw_only=True)
class ModelConfig(Config):
    """Which towers are joined, and by what."""

    vision: str
    """Vision tower: `microworld:NAME`, a local folder or a hub id."""
    language: str
    """Language model: `microworld:NAME`, a local folder or a hub id."""
    connector: ConnectorConfig
    """What turns patches into visual tokens."""
    connector_start: str | None = None
    """Pretrained model that the connector starts from: a BERT for `qformer`, a small language model
    for `language_adapter`; `microworld:NAME`, folder or hub id. None draws fresh weights."""
    fusion: FusionConfig = field(default_factory=Inline.Config)
    """Where visual tokens and the language model meet."""
    vision_layer: Layers = PENULTIMATE
    """Layer of the tower whose output is used: 1 the first block, -2 the last block but one, -1
    the tower's own output with its final norm. Several layers stand side by side."""
    beside: tuple[str, ...] = ()
    """Further vision towers, whose patches are brought to the grid of the first and stand beside
    its own."""
    beside_layer: tuple[int, ...] = ()
    """Layer of each of these; as `vision_layer` when empty."""
    beside_image_size: tuple[int, ...] = ()
    """Height and width of what each of these is shown, pixels; their own when empty."""
    clip_frames: int = 1
    """Images that follow one another and that the connector reads as one, the frames of a clip:
    they share its visual tokens, whatever their number. 1 reads each image by itself."""
    vision_prefix: bool = False
    """Let the connector read the tower's class and register tokens, too, if it can."""
    image_size: int | None = None
    """Height and width of what the tower is shown, pixels; its own when None. Its learned positions
    are interpolated."""
    image_resize: ResizeStrategy = "naive"
    """How a picture of any shape is brought to the size: stretched (naive), its middle cut out
    (crop), padded (letterbox, corner_pad), or as a whole and in tiles."""
    max_tiles: int | None = None
    """Most tiles of one picture beside the view of the whole, for the strategy `tiles`."""
    qformer_tokenizer: str | None = None
    """Tokenizer of a connector that reads what is asked: `microworld:NAME`, folder or hub id."""
    chat_template: str | None = None
    """Chat template in place of the language model's own: one of `isthmus.chat_templates()`, or a
    Jinja file."""
    four_bit: bool = False
    """Keep the language model's linear layers in four bits (NF4, by bitsandbytes, on a GPU), to
    train low-rank updates beside them. They are never merged into the rounded weights."""
    attention: str | None = None
    """Attention kernel while training, by transformers' name (`eager`, `sdpa`,
    `flash_attention_2`, ...); None leaves the choice to transformers. Not saved with the model."""

    def __post_init__(self) -> None:
        """Checks that the settings of the towers beside the first are as many as they are.

        Raises:
            ValueError: they are not.
        """
        for name in ("beside_layer", "beside_image_size"):
            given = getattr(self, name)
            if given and len(given) != len(self.beside):
                raise ValueError(
                    f"{name} has {len(given)} values for {len(self.beside)} towers beside the "
                    "first; give one for each, or none"
                )

    def towers_beside(self) -> list[TowerChoice]:
        """Returns the towers beside the first, and what is taken from each."""
        num = len(self.beside)
        layers = self.beside_layer or (self.vision_layer,) * num
        sizes = self.beside_image_size or (None,) * num
        return [
            TowerChoice(name=name, layer=layer, image_size=size)
            for name, layer, size in zip(self.beside, layers, sizes, strict=True)
        ]


@final
@dataclass(frozen=True, kw_only=True)
class AlignmentConfig(Config):
    """A vision tower and a Q-Former that holds its pictures and texts together."""

    vision: str
    """Vision tower: `microworld:NAME`, a local folder or a hub id."""
    text: str
    """A BERT, whose tokenizer reads the texts: `microworld:NAME`, a local folder or a hub id."""
    qformer: QFormer.Config
    """Queries, layers and text side."""
    text_start: bool = True
    """Start the Q-Former's body and text side as that BERT; else with fresh weights."""
    d_embedding: int = 256
    """Width in which pictures and texts are compared."""
    temperature: float = 0.07
    """Initial temperature, by which similarities are divided."""
    max_caption_tokens: int = 32
    """Longest text, its marks included; what is longer is cut."""
    vision_layer: Layers = PENULTIMATE
    """Layer of the tower whose output is used, see `ModelConfig`."""
    vision_prefix: bool = False
    """Let the queries read the tower's class and register tokens, too."""
    image_size: int | None = None
    """Height and width of what the tower is shown, pixels; its own when None."""
    image_resize: ResizeStrategy = "naive"
    """How a picture of any shape is brought to the size."""
    attention: str | None = None
    """Attention kernel of the tower while training, by transformers' name."""


@final
@dataclass(frozen=True, kw_only=True)
class HandOver(Config):
    """Weights that go from one model to the next; whatever it does not tell of is an error.

    In names, `*` stands for one part between dots, and `**` for one or more.
    """

    keys: tuple[tuple[str, str], ...]
    """Names in the model before, and in the next."""
    left: tuple[str, ...] = ()
    """Names in the model before that are left behind."""
    fresh: tuple[str, ...] = ()
    """Names in the next model, in parts that take weights over, that stay as they were built."""
