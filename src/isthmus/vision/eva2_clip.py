"""EVA2-CLIP-E, the vision transformer of CogVLM, which transformers lacks.

Class token and patches get learned positions and pass blocks that norm what a branch gives, not
what it takes: attention and its norm add to the tokens, then a perceptron and its norm. Nothing
follows the last block.
"""

from typing import final

from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import BaseModelOutput

from isthmus.vision._vit import FeedForward, PatchEmbedding, SelfAttention
from isthmus.vision.configuration import Eva2ClipVisionConfig


@final
class Eva2ClipBlock(GradientCheckpointingLayer):
    """Attention, then a perceptron; each is followed by its norm and added to the tokens."""

    def __init__(self, config: Eva2ClipVisionConfig) -> None:
        """Builds the branches and their norms."""
        super().__init__()
        self.attention = SelfAttention(config)
        self.attention_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.feed_forward = FeedForward(config)
        self.feed_forward_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(
        self, states: Float[Tensor, "images seq d_vision"]
    ) -> Float[Tensor, "images seq d_vision"]:
        """Returns the tokens after this block."""
        states = states + self.attention_norm(self.attention(states))
        return states + self.feed_forward_norm(self.feed_forward(states))


@final
class Eva2ClipVisionModel(PreTrainedModel):
    """Turns normalised images into a class token and patches.

    Paper: CogVLM, arXiv 2311.03079, section 2.1; EVA-CLIP, arXiv 2303.15389. CogVLM drops the last
    of 64 blocks, and so do the defaults.
    Differs: no drop path, which the authors' training code can switch on.
    """

    config_class = Eva2ClipVisionConfig
    main_input_name = "pixel_values"
    input_modalities = ["image"]  # noqa: RUF012 (transformers' contract)
    supports_gradient_checkpointing = True
    _no_split_modules = ["Eva2ClipBlock"]  # noqa: RUF012 (transformers' contract)
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_attention_backend = True

    def __init__(self, config: Eva2ClipVisionConfig) -> None:
        """Builds the blocks with fresh weights."""
        super().__init__(config)
        self.embeddings = PatchEmbedding(
            width=config.hidden_size,
            image_size=config.image_size,
            patch_size=config.patch_size,
            class_token=True,
            bias=True,
        )
        self.layers = nn.ModuleList(Eva2ClipBlock(config) for _ in range(config.num_hidden_layers))
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
        for block in self.layers:
            states = block(states)
        return BaseModelOutput(last_hidden_state=states)

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, PatchEmbedding):
            module.draw(self.config.initializer_range)
