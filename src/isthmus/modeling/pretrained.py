"""What all isthmus models share in the eyes of transformers: their traits and their outputs."""

from dataclasses import dataclass

from torch import Tensor, nn
from transformers import Cache, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPast, ModelOutput

from isthmus.connectors import Connector
from isthmus.modeling.configuration_isthmus import IsthmusConfig


@dataclass
class IsthmusModelOutput(BaseModelOutputWithPast):
    """Hidden states of the language model, and the visual tokens it read."""

    image_hidden_states: Tensor | None = None
    encoder_last_hidden_state: Tensor | None = None


@dataclass
class IsthmusOutput(ModelOutput):
    """Loss or logits, and what the language model kept."""

    loss: Tensor | None = None
    logits: Tensor | None = None
    past_key_values: Cache | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None
    image_hidden_states: Tensor | None = None
    encoder_last_hidden_state: Tensor | None = None


class IsthmusPreTrainedModel(PreTrainedModel):
    """What all isthmus models share in the eyes of transformers."""

    config_class = IsthmusConfig
    base_model_prefix = "model"
    input_modalities = ["image", "text"]  # noqa: RUF012 (transformers' contract)
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True
    _supports_attention_backend = True
    _can_compile_fullgraph = True
    _skip_keys_device_placement = ["past_key_values"]  # noqa: RUF012 (transformers' contract)

    def _init_weights(self, module: nn.Module) -> None:
        """Draws fresh weights; connectors know how to draw theirs, the parts of others too."""
        if isinstance(module, Connector):
            module.reset_parameters()
        else:
            super()._init_weights(module)

    @classmethod
    def register_for_auto_class(cls, auto_class: str = "AutoModel") -> None:
        """Does nothing: checkpoints carry the shim, never a copy of this file."""
