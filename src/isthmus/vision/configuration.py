"""The architectures of the vision towers of our own, as saved in config.json."""

from typing import Any

from transformers import PreTrainedConfig


class Eva2ClipVisionConfig(PreTrainedConfig):
    """EVA2-CLIP-E as CogVLM has it: 63 of its 64 blocks, at 490 pixels.

    Raises:
        ValueError: the heads do not share the width evenly.
    """

    model_type = "eva2_clip_vision"
    base_config_key = "vision_config"

    hidden_size: int = 1792
    """Width of a patch."""
    intermediate_size: int = 15360
    """Inner width of the feed-forward part."""
    num_hidden_layers: int = 63
    """Blocks."""
    num_attention_heads: int = 16
    """Attention heads."""
    image_size: int = 490
    """Height and width of the image that the positions were learned for, pixels."""
    patch_size: int = 14
    """Height and width of a patch, pixels."""
    layer_norm_eps: float = 1e-6
    """Added to the variance in every norm."""
    initializer_range: float = 0.02
    """Standard deviation of fresh weights."""

    def __post_init__(self, **kwargs: Any) -> None:
        """Checks that the heads fit."""
        super().__post_init__(**kwargs)
        _check_heads(self.model_type, self.hidden_size, self.num_attention_heads)


class CocaVisionConfig(PreTrainedConfig):
    """The vision transformer of CoCa; the defaults are the ViT-B of PaLM2-VAdapter.

    Raises:
        ValueError: the heads do not share the width evenly.
    """

    model_type = "coca_vision"
    base_config_key = "vision_config"

    hidden_size: int = 768
    """Width of a patch."""
    intermediate_size: int = 3072
    """Inner width of the feed-forward part."""
    num_hidden_layers: int = 12
    """Blocks."""
    num_attention_heads: int = 12
    """Attention heads."""
    image_size: int = 288
    """Height and width of the image that the positions were learned for, pixels."""
    patch_size: int = 18
    """Height and width of a patch, pixels."""
    use_class_token: bool = True
    """Whether a learned token stands before the patches, as in open_clip."""
    layer_norm_eps: float = 1e-5
    """Added to the variance in every norm."""
    initializer_range: float = 0.02
    """Standard deviation of fresh weights."""

    def __post_init__(self, **kwargs: Any) -> None:
        """Checks that the heads fit."""
        super().__post_init__(**kwargs)
        _check_heads(self.model_type, self.hidden_size, self.num_attention_heads)


def _check_heads(kind: str, width: int, heads: int) -> None:
    if width % heads:
        raise ValueError(
            f"{kind}.num_attention_heads is {heads}, which does not divide hidden_size {width}; "
            "expected heads of equal width"
        )
