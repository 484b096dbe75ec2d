"""The architecture of a model, as saved in config.json."""

from collections.abc import Sequence
from os import PathLike
from typing import Any

from transformers import AutoConfig, PreTrainedConfig
from transformers.configuration_utils import SubConfigSpec

from isthmus import connectors
from isthmus import fusion as fusions
from isthmus.connectors import ConnectorConfig
from isthmus.fusion import FusionConfig
from isthmus.geometry.resize import Resize, ResizeStrategy
from isthmus.language.backbone import text_config_of
from isthmus.language.tokenizer import IMAGE_TOKEN, load_tokenizer, token_id
from isthmus.modeling.shim import AUTO_MAP, write_shim
from isthmus.vision.choice import PENULTIMATE, Layers, TowerChoice
from isthmus.vision.fused import TowerConfig


class IsthmusConfig(PreTrainedConfig):
    """What a model is made of: vision towers, a connector, a fusion, a language model.

    Raises:
        ValueError: the connector's or fusion's object is wrong, a tower has no such layer, or a
            choice contradicts another.
    """

    model_type = "isthmus"
    sub_configs_defaults = {  # noqa: RUF012 (a class attribute by transformers' contract)
        "vision_config": SubConfigSpec(AutoConfig, model_type="siglip_vision_model"),
        "text_config": SubConfigSpec(AutoConfig, model_type="llama"),
    }

    vision_config: Any = None
    """The first tower's own configuration, of all its layers."""
    text_config: Any = None
    """The language model's own configuration."""
    connector_config: dict[str, Any] | None = None
    """The connector's kind and fields; an MLP by default."""
    visual_fusion_config: dict[str, Any] | None = None
    """The fusion's kind and fields; inline by default. transformers' own `fusion_config` is about
    kernels."""
    vision_layer: int | list[int] | tuple[int, ...] = PENULTIMATE
    """Which layer's output is used, or which layers': -1 is the tower's output, see `VisionTower`.
    """
    vision_beside: list[dict[str, Any]] | tuple[dict[str, Any], ...] = ()
    """Further towers, whose patches stand beside those of the first: of each its `vision_config`,
    `vision_layer`, `image_size`, `image_mean` and `image_std`."""
    vision_prefix: bool = False
    """Whether the connector also reads the tower's class and register tokens."""
    image_token: str = IMAGE_TOKEN
    """Text of the placeholder."""
    image_token_id: int = 32000
    """Id of the placeholder; it may lie beyond the language model's vocabulary."""
    image_size: int = 224
    """Height and width of what the first tower is shown, pixels."""
    image_mean: list[float] | tuple[float, ...] = (0.5, 0.5, 0.5)
    """Mean of each channel, on the scale of 0 to 1."""
    image_std: list[float] | tuple[float, ...] = (0.5, 0.5, 0.5)
    """Standard deviation of each channel, on the scale of 0 to 1."""
    image_resample: int = 3
    """Pillow's number of the interpolation that resizes images (3 is bicubic)."""
    image_resize: ResizeStrategy = "naive"
    """How a picture of any shape is brought to the size, see `isthmus.geometry.resize`."""
    max_tiles: int | None = None
    """Most tiles of one picture beside the view of the whole, for the strategy `tiles`."""
    tie_word_embeddings: bool = False
    """Whether the head is the embedding table; follows the language model."""

    def __post_init__(self, **kwargs: Any) -> None:
        """Resolves the parts and checks that they fit."""
        super().__post_init__(**kwargs)
        given = {"kind": "mlp"} if self.connector_config is None else self.connector_config
        # Written out in full, so that a checkpoint outlives a change of a default.
        self.connector_config = connectors.from_dict(given).to_dict()
        given = (
            {"kind": "inline"} if self.visual_fusion_config is None else self.visual_fusion_config
        )
        self.visual_fusion_config = fusions.from_dict(given).to_dict()
        self.image_mean, self.image_std = list(self.image_mean), list(self.image_std)
        self.vision_beside = [dict(tower) for tower in self.vision_beside]
        if not isinstance(self.vision_layer, int):
            self.vision_layer = list(self.vision_layer)
        self.tie_word_embeddings = bool(getattr(self.text_config, "tie_word_embeddings", False))
        self.is_encoder_decoder = bool(self.text_config.is_encoder_decoder)
        self._check()

    def _check(self) -> None:
        towers, views = self.towers, self.resize
        if self.vision_prefix and (len(towers) > 1 or not self.connector.reads_prefix):
            raise ValueError(
                f"vision_prefix is set for {len(towers)} towers and the connector "
                f"{self.connector.kind!r}; expected one tower and a connector that reads class "
                "tokens, such as 'qformer'"
            )
        if views.max_tiles is not None and not self.fusion.sees_every_view:
            raise ValueError(
                f"image_resize is {self.image_resize!r}, but with {self.fusion.kind!r} as it is "
                "set, a word sees the last tile of a picture alone; let it see all images "
                "(fusion.sees 'all'), or resize another way"
            )

    @classmethod
    def from_towers(
        cls,
        *,
        vision: str,
        language: str,
        connector: ConnectorConfig | str = "mlp",
        fusion: FusionConfig | str = "inline",
        vision_layer: Layers = PENULTIMATE,
        beside: Sequence[TowerChoice] = (),
        vision_prefix: bool = False,
        image_size: int | None = None,
        image_resize: ResizeStrategy = "naive",
        max_tiles: int | None = None,
        image_token: str = IMAGE_TOKEN,
    ) -> "IsthmusConfig":
        """Describes the model that joins two pretrained ones, without loading their weights.

        Args:
            vision: local folder or hub id of a vision tower, or of a model that holds one.
            language: local folder or hub id of a language model.
            connector: configuration of the connector, or its kind.
            fusion: configuration of the fusion, or its kind.
            vision_layer: which layer's output is used, or which layers', see `VisionTower`.
            beside: further towers, whose patches stand beside those of the first.
            vision_prefix: whether the connector also reads class and register tokens.
            image_size: height and width of what the first tower is shown, pixels; its own when
                None.
            image_resize: how a picture of any shape is brought to the size.
            max_tiles: most tiles of one picture beside the view of the whole.
            image_token: text of the placeholder.

        Raises:
            ValueError: a part cannot be used.
        """
        tower, preprocessing = TowerChoice(
            name=vision, layer=vision_layer, image_size=image_size
        ).read()
        chosen = connectors.default(connector) if isinstance(connector, str) else connector
        fused = fusions.default(fusion) if isinstance(fusion, str) else fusion
        return cls(
            **_written(tower),
            vision_beside=[_written(choice.read()[0]) for choice in beside],
            vision_prefix=vision_prefix,
            text_config=_portable(text_config_of(language)),
            connector_config=chosen.to_dict(),
            visual_fusion_config=fused.to_dict(),
            image_token=image_token,
            image_token_id=token_id(load_tokenizer(language, image_token), image_token),
            image_resample=preprocessing.resample,
            image_resize=image_resize,
            max_tiles=max_tiles,
        )

    @property
    def connector(self) -> ConnectorConfig:
        """The connector's typed configuration."""
        return connectors.from_dict(self.connector_config or {})

    @property
    def fusion(self) -> FusionConfig:
        """The fusion's typed configuration."""
        return fusions.from_dict(self.visual_fusion_config or {})

    @property
    def towers(self) -> list[TowerConfig]:
        """The vision towers, the one that decides the grid first."""
        first = _read(
            {
                "vision_config": self.vision_config,
                "vision_layer": self.vision_layer,
                "image_size": self.image_size,
                "image_mean": self.image_mean,
                "image_std": self.image_std,
            }
        )
        return [first, *map(_read, self.vision_beside)]

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of the patches of an image."""
        return self.towers[0].grid

    @property
    def d_vision(self) -> int:
        """Width of a patch, of all towers and layers together."""
        return sum(tower.d_vision for tower in self.towers)

    @property
    def resize(self) -> Resize:
        """How pictures are brought to the size of the model's pixels: the largest of its towers'.

        Raises:
            ValueError: there is no such strategy, or it does not go with `max_tiles`.
        """
        side = max(tower.image_size for tower in self.towers)
        return Resize(strategy=self.image_resize, size=(side, side), max_tiles=self.max_tiles)

    @property
    def num_image_tokens(self) -> int:
        """Visual tokens per image; a picture in tiles is several images."""
        return self.connector.num_tokens(self.grid)

    @property
    def num_placeholders(self) -> int:
        """Positions that an image takes in the text."""
        return self.fusion.num_placeholders(self.num_image_tokens)

    @property
    def max_positions(self) -> int | None:
        """Tokens that the language model takes, answer included; None if it names no limit."""
        return getattr(self.text_config, "max_position_embeddings", None)

    def save_pretrained(
        self, save_directory: str | PathLike[str], push_to_hub: bool = False, **kwargs: Any
    ) -> None:
        """Saves config.json, and the shim that lets stock tools load the folder."""
        self.auto_map = dict(AUTO_MAP)
        write_shim(save_directory)
        super().save_pretrained(save_directory, push_to_hub=push_to_hub, **kwargs)

    @classmethod
    def register_for_auto_class(cls, auto_class: str = "AutoConfig") -> None:
        """Does nothing: checkpoints carry the shim, never a copy of this file."""


def _written(tower: TowerConfig) -> dict[str, Any]:
    """Returns a tower as config.json holds it."""
    return {
        "vision_config": _portable(tower.encoder),
        "vision_layer": tower.layers[0] if len(tower.layers) == 1 else list(tower.layers),
        "image_size": tower.image_size,
        "image_mean": list(tower.mean),
        "image_std": list(tower.std),
    }


def _read(written: dict[str, Any]) -> TowerConfig:
    """Returns a tower of what config.json holds."""
    encoder, layers = written["vision_config"], written["vision_layer"]
    return TowerConfig(
        encoder=AutoConfig.for_model(**encoder) if isinstance(encoder, dict) else encoder,
        layers=(layers,) if isinstance(layers, int) else tuple(layers),
        image_size=written["image_size"],
        mean=tuple(written["image_mean"]),
        std=tuple(written["image_std"]),
    )


def _portable(config: PreTrainedConfig) -> dict[str, Any]:
    """Returns a part's configuration without what belongs to the folder it came from.

    Its path means nothing elsewhere, and the dtype of its file must not be that of our weights.
    """
    return {
        name: value
        for name, value in config.to_dict().items()
        if name not in ("_name_or_path", "dtype", "transformers_version")
    }
