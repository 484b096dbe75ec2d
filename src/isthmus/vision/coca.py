"""The vision transformer of CoCa, as open_clip lays it out.

Patches, and a class token before them where there is one, get learned positions and a norm, and
pass blocks that norm what a branch takes. Nothing follows the last block: CoCa's attentional
pooler, and the norm behind it, are a connector here (`attentional_pooler`).
"""

from typing import final

from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import BaseModelOutput

from isthmus.vision._vit import FeedForward, PatchEmbedding, SelfAttention
from isthmus.vision.configuration import CocaVisionConfig


@final
class CocaBlock(GradientCheckpointingLayer):
    """Attention, then a perceptron; each takes the normed tokens and adds to them."""

    def __init__(self, config: CocaVisionConfig) -> None:
        """Builds the branches and their norms."""
        super().__init__()
        self.attention_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.attention = SelfAttention(config)
        self.feed_forward_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.feed_forward = FeedForward(config)

    def forward(
        self, states: Float[Tensor, "images seq d_vision"]
    ) -> Float[Tensor, "images seq d_vision"]:
        """Returns the tokens after this block."""
        states = states + self.attention(self.attention_norm(states))
        return states + self.feed_forward(self.feed_forward_norm(states))


@final
class CocaVisionModel(PreTrainedModel):
    """Turns normalised images into patches, and a class token before them where there is one.

    Paper: CoCa, arXiv 2205.01917, section 3.2; PaLM2-VAdapter, arXiv 2402.10896, section 4.1
    (288 pixels, patches of 18: 256 of them).
    Differs: the papers do not lay out the blocks; these are those of open_clip's CoCa.
    """

    config_class = CocaVisionConfig
    main_input_name = "pixel_values"
    input_modalities = ["image"]  # noqa: RUF012 (transformers' contract)
    supports_gradient_checkpointing = True
    _no_split_modules = ["CocaBlock"]  # noqa: RUF012 (transformers' contract)
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_attention_backend = True

    def __init__(self, config: CocaVisionConfig) -> None:
        """Builds the blocks with fresh weights."""
        super().__init__(config)
        self.embeddings = PatchEmbedding(
            width=config.hidden_size,
            image_size=config.image_size,
            patch_size=config.patch_size,
            class_token=config.use_class_token,
            bias=False,
        )
        self.pre_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.layers = nn.ModuleList(CocaBlock(config) for _ in range(config.num_hidden_layers))
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        """Returns the map from pixels to patches."""
        return self.embeddings.projection

    def forward(
        self,
        pixel_values: Float[Tensor, "images 3 height width"],
        interpolate_pos_encoding: bool = False,
    ) -> BaseModelOutput:
        """Returns the tokens after the last block, the class token first.

        Args:
            pixel_values: normalised images.
            interpolate_pos_encoding: whether images may be of another size than in training.
        """
        states = self.embeddings(pixel_values, interpolated=interpolate_pos_encoding)
        states = self.pre_norm(states)
        for block in self.layers:
            states = block(states)
        return BaseModelOutput(last_hidden_state=states)

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, PatchEmbedding):
            module.draw(self.config.initializer_range)
