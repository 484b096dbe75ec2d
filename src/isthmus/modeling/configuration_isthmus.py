"""The architecture of a model, as saved in config.json."""

from os import PathLike
from typing import Any

from transformers import AutoConfig, PreTrainedConfig
from transformers.configuration_utils import SubConfigSpec

from isthmus import connectors
from isthmus import fusion as fusions
from isthmus.connectors import ConnectorConfig
from isthmus.fusion import FusionConfig
from isthmus.language.backbone import text_config_of
from isthmus.language.tokenizer import IMAGE_TOKEN, load_tokenizer, token_id
from isthmus.modeling.shim import AUTO_MAP, write_shim
from isthmus.pretrained import read_config
from isthmus.vision.preprocessing import read_preprocessing
from isthmus.vision.tower import grid_of, num_blocks_kept, vision_part

PENULTIMATE = -2
"""Layer that most published systems take their patches from."""


class IsthmusConfig(PreTrainedConfig):
    """What a model is made of: a vision tower, a connector, a language model.

    Raises:
        ValueError: the connector's object is wrong, or the tower has no such layer.
    """

    model_type = "isthmus"
    sub_configs_defaults = {  # noqa: RUF012 (a class attribute by transformers' contract)
        "vision_config": SubConfigSpec(AutoConfig, model_type="siglip_vision_model"),
        "text_config": SubConfigSpec(AutoConfig, model_type="llama"),
    }

    vision_config: Any = None
    """The tower's own configuration, of all its layers."""
    text_config: Any = None
    """The language model's own configuration."""
    connector_config: dict[str, Any] | None = None
    """The connector's kind and fields; an MLP by default."""
    visual_fusion_config: dict[str, Any] | None = None
    """The fusion's kind and fields; inline by default. transformers' own `fusion_config` is about
    kernels."""
    vision_layer: int = PENULTIMATE
    """Which layer's output is used: -1 is the tower's output, see `VisionTower`."""
    image_token: str = IMAGE_TOKEN
    """Text of the placeholder."""
    image_token_id: int = 32000
    """Id of the placeholder; it may lie beyond the language model's vocabulary."""
    image_size: int = 224
    """Height and width of an image, pixels."""
    image_mean: list[float] | tuple[float, ...] = (0.5, 0.5, 0.5)
    """Mean of each channel, on the scale of 0 to 1."""
    image_std: list[float] | tuple[float, ...] = (0.5, 0.5, 0.5)
    """Standard deviation of each channel, on the scale of 0 to 1."""
    image_resample: int = 3
    """Pillow's number of the interpolation that resizes images (3 is bicubic)."""
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
        self.tie_word_embeddings = bool(getattr(self.text_config, "tie_word_embeddings", False))
        self.is_encoder_decoder = bool(self.text_config.is_encoder_decoder)
        num_blocks_kept(self.vision_config, self.vision_layer)

    @classmethod
    def from_towers(
        cls,
        *,
        vision: str,
        language: str,
        connector: ConnectorConfig | str = "mlp",
        fusion: FusionConfig | str = "inline",
        vision_layer: int = PENULTIMATE,
        image_token: str = IMAGE_TOKEN,
    ) -> "IsthmusConfig":
        """Describes the model that joins two pretrained ones, without loading their weights.

        Args:
            vision: local folder or hub id of a vision tower, or of a model that holds one.
            language: local folder or hub id of a causal language model.
            connector: configuration of the connector, or its kind.
            fusion: configuration of the fusion, or its kind.
            vision_layer: which layer's output is used, see `VisionTower`.
            image_token: text of the placeholder.

        Raises:
            ValueError: a part cannot be used.
        """
        vision_config = vision_part(read_config(vision))
        preprocessing = read_preprocessing(vision, vision_config)
        chosen = connectors.default(connector) if isinstance(connector, str) else connector
        fused = fusions.default(fusion) if isinstance(fusion, str) else fusion
        return cls(
            vision_config=_portable(vision_config),
            text_config=_portable(text_config_of(language)),
            connector_config=chosen.to_dict(),
            visual_fusion_config=fused.to_dict(),
            vision_layer=vision_layer,
            image_token=image_token,
            image_token_id=token_id(load_tokenizer(language, image_token), image_token),
            image_size=preprocessing.image_size,
            image_mean=list(preprocessing.mean),
            image_std=list(preprocessing.std),
            image_resample=preprocessing.resample,
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
    def grid(self) -> tuple[int, int]:
        """Rows and columns of the patches of an image."""
        return grid_of(self.vision_config, self.image_size, self.image_size)

    @property
    def num_image_tokens(self) -> int:
        """Visual tokens per image."""
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


def _portable(config: PreTrainedConfig) -> dict[str, Any]:
    """Returns a part's configuration without what belongs to the folder it came from.

    Its path means nothing elsewhere, and the dtype of its file must not be that of our weights.
    """
    return {
        name: value
        for name, value in config.to_dict().items()
        if name not in ("_name_or_path", "dtype", "transformers_version")
    }
