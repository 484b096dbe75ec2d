"""The architecture of a model, as saved in config.json."""

from typing import Any

from transformers import AutoConfig
from transformers.configuration_utils import SubConfigSpec

from isthmus import connectors
from isthmus import fusion as fusions
from isthmus.connectors import ConnectorConfig
from isthmus.fusion import FusionConfig
from isthmus.language.backbone import text_config_of
from isthmus.language.tokenizer import IMAGE_TOKEN, load_tokenizer, token_id
from isthmus.modeling.configuration_vision import IsthmusVisionConfig, portable, vision_fields
from isthmus.modeling.shim import AUTO_MAP


class IsthmusConfig(IsthmusVisionConfig):
    """What a model is made of: vision towers, a connector, a fusion, a language model.

    Raises:
        ValueError: the connector's or fusion's object is wrong, a tower has no such layer, or a
            choice contradicts another.
    """

    model_type = "isthmus"
    auto_classes = AUTO_MAP
    sub_configs_defaults = {  # noqa: RUF012 (a class attribute by transformers' contract)
        **IsthmusVisionConfig.sub_configs_defaults,
        "text_config": SubConfigSpec(AutoConfig, model_type="llama"),
    }

    text_config: Any = None
    """The language model's own configuration."""
    connector_config: dict[str, Any] | None = None
    """The connector's kind and fields; an MLP by default."""
    visual_fusion_config: dict[str, Any] | None = None
    """The fusion's kind and fields; inline by default. transformers' own `fusion_config` is about
    kernels."""
    clip_frames: int = 1
    """Images that follow one another and that the connector reads as one: the frames of a clip."""
    image_token: str = IMAGE_TOKEN
    """Text of the placeholder."""
    image_token_id: int = 32000
    """Id of the placeholder; it may lie beyond the language model's vocabulary."""
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
        self.tie_word_embeddings = bool(getattr(self.text_config, "tie_word_embeddings", False))
        self.is_encoder_decoder = bool(self.text_config.is_encoder_decoder)
        self._check()

    def _check(self) -> None:
        connector = self.connector
        self.check_prefix(connector.kind, reads_prefix=connector.reads_prefix)
        if self.resize.max_tiles is not None and not self.fusion.sees_every_view:
            raise ValueError(
                f"image_resize is {self.image_resize!r}, but with {self.fusion.kind!r} as it is "
                "set, a word sees the last tile of a picture alone; let it see all images "
                "(fusion.sees 'all'), or resize another way"
            )
        self._check_clips()

    def _check_clips(self) -> None:
        if self.clip_frames < 1:
            raise ValueError(f"clip_frames is {self.clip_frames}; expected 1 or more")
        if self.clip_frames == 1:
            return
        unfit = {
            "image_resize 'tiles'": self.resize.max_tiles is not None,
            "vision_prefix": self.vision_prefix,
            "a connector that reads instructions": self.connector.instruction_side is not None,
        }
        if found := [name for name, is_set in unfit.items() if is_set]:
            raise ValueError(
                f"clip_frames is {self.clip_frames}, which does not go with {found[0]}; leave out "
                "one of them"
            )
        places = self.fusion.num_placeholders(self.num_image_tokens)
        if places % self.clip_frames:
            raise ValueError(
                f"clip_frames is {self.clip_frames}, and a clip takes {places} positions of the "
                "text, which its frames cannot share evenly; set a number that divides them"
            )

    @classmethod
    def from_towers(
        cls,
        *,
        vision: str,
        language: str,
        connector: ConnectorConfig | str = "mlp",
        fusion: FusionConfig | str = "inline",
        clip_frames: int = 1,
        image_token: str = IMAGE_TOKEN,
        **images: Any,
    ) -> "IsthmusConfig":
        """Describes the model that joins two pretrained ones, without loading their weights.

        Args:
            vision: local folder or hub id of a vision tower, or of a model that holds one.
            language: local folder or hub id of a language model.
            connector: configuration of the connector, or its kind.
            fusion: configuration of the fusion, or its kind.
            clip_frames: images that the connector reads as one.
            image_token: text of the placeholder.
            **images: layers, further towers and resizing, as of `vision_fields`.

        Raises:
            ValueError: a part cannot be used.
        """
        chosen = connectors.default(connector) if isinstance(connector, str) else connector
        fused = fusions.default(fusion) if isinstance(fusion, str) else fusion
        return cls(
            **vision_fields(vision, **images),
            text_config=portable(text_config_of(language)),
            connector_config=chosen.to_dict(),
            visual_fusion_config=fused.to_dict(),
            clip_frames=clip_frames,
            image_token=image_token,
            image_token_id=token_id(load_tokenizer(language, image_token), image_token),
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
    def num_image_tokens(self) -> int:
        """Visual tokens per image, or clip; a picture in tiles is several images."""
        return self.connector.num_tokens(self.grid)

    @property
    def num_placeholders(self) -> int:
        """Positions that an image takes in the text; the frames of a clip share those of one."""
        return self.fusion.num_placeholders(self.num_image_tokens) // self.clip_frames

    @property
    def max_positions(self) -> int | None:
        """Tokens that the language model takes, answer included; None if it names no limit."""
        return getattr(self.text_config, "max_position_embeddings", None)
