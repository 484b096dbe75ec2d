"""Any vision transformer of the transformers library, cut off behind the chosen layer.

What lies behind that layer is not there: no compute, no memory, no keys in a checkpoint.
"""

import inspect
from collections.abc import Sequence
from functools import partial
from typing import Any, final

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from transformers import AutoModel, PreTrainedConfig, PreTrainedModel
from transformers.utils import logging

from isthmus.axes import Patches
from isthmus.pretrained import read_config


@final
class VisionTower(nn.Module):
    """Turns images into patches.

    Layers are counted as in the `hidden_states` of a transformers model: 1 is the output of the
    first block, -2 that of the last block but one, each as it leaves the block. -1 is the tower's
    own `last_hidden_state`, with the final norm where the tower applies one. Of several layers the
    outputs stand side by side in each patch.

    Differs: transformers counts -1 as the output of the last block before the final norm; ask for
    that with the number of blocks.
    """

    def __init__(
        self,
        encoder: PreTrainedModel,
        *,
        layers: Sequence[int],
        mean: Sequence[float],
        std: Sequence[float],
        keeps_prefix: bool = False,
    ) -> None:
        """Takes an encoder and cuts off what lies behind the last of the layers.

        Args:
            encoder: a vision transformer with a class attribute `main_input_name` of pixels.
            layers: which blocks' outputs to use.
            mean: mean of each channel, on the scale of 0 to 1.
            std: standard deviation of each channel, on the scale of 0 to 1.
            keeps_prefix: hand on the class and register tokens, too.

        Raises:
            ValueError: the encoder is no plain vision transformer, or has no such layer.
        """
        super().__init__()
        depths = {layer: num_blocks_kept(encoder.config, layer) for layer in layers}
        # What the encoder itself gives: its own output, else that of the last block that is left.
        self.last = -1 if -1 in layers else max(depths, key=depths.__getitem__)
        blocks = _cut(encoder, self.last)
        self.layers, self.keeps_prefix = tuple(layers), keeps_prefix
        self.encoder = encoder
        self._outputs: dict[int, Tensor] = {}
        for layer in set(layers) - {self.last}:
            blocks[depths[layer] - 1].register_forward_hook(partial(self._keep, layer))
        # Python numbers, not buffers: casting the model to bfloat16 must not round them.
        self.mean, self.std = tuple(mean), tuple(std)
        forward = inspect.signature(type(encoder).forward).parameters
        self.interpolates = "interpolate_pos_encoding" in forward

    def forward(
        self,
        pixel_values: UInt8[Tensor, "images 3 height width"]
        | Float[Tensor, "images 3 height width"],
    ) -> Patches:
        """Returns the patches of images whose values run from 0 to 255.

        Raises:
            ValueError: the encoder's output does not fit the grid of the image.
        """
        height, width = pixel_values.shape[-2:]
        rows, columns = grid_of(self.encoder.config, height, width)
        scaled = pixel_values.to(torch.float32) / 255
        mean = scaled.new_tensor(self.mean)[:, None, None]
        std = scaled.new_tensor(self.std)[:, None, None]
        native = (height, width) == _pair(self.encoder.config.image_size)
        resized = {"interpolate_pos_encoding": True} if self.interpolates and not native else {}
        normalized = ((scaled - mean) / std).to(self.encoder.dtype)
        states = self._states(normalized, resized)
        num_prefix = states.shape[1] - rows * columns
        if states.ndim != 3 or num_prefix < 0:
            raise ValueError(
                f"{type(self.encoder).__name__} gave {tuple(states.shape)} for images of "
                f"{height} x {width} pixels; expected {rows * columns} patches each"
            )
        # Class and register tokens stand before the patches.
        return Patches(
            features=states[:, num_prefix:],
            grid=(rows, columns),
            prefix=states[:, :num_prefix] if self.keeps_prefix else None,
        )

    def _states(self, pixels: Tensor, options: dict[str, bool]) -> Tensor:
        """Returns the outputs of the layers, side by side."""
        last = self.encoder(pixel_values=pixels, **options).last_hidden_state
        if len(self.layers) == 1:
            return last
        outputs = {**self._outputs, self.last: last}
        self._outputs.clear()
        return torch.cat([outputs[layer] for layer in self.layers], dim=-1)

    def _keep(self, layer: int, block: nn.Module, _: Any, output: Any) -> None:
        self._outputs[layer] = output if isinstance(output, Tensor) else output[0]


def vision_part(config: PreTrainedConfig) -> PreTrainedConfig:
    """Returns the configuration of the vision tower, also where a larger model holds it."""
    return getattr(config, "vision_config", config)


def grid_of(config: PreTrainedConfig, height: int, width: int) -> tuple[int, int]:
    """Returns rows and columns of the patches of an image.

    Raises:
        ValueError: the tower has no patches of fixed size, or an image smaller than one.
    """
    if getattr(config, "patch_size", None) is None:
        raise ValueError(
            f"a {config.model_type!r} tower has no patch_size; expected a plain vision "
            "transformer such as siglip, clip, dinov2 or vit"
        )
    patch_height, patch_width = _pair(config.patch_size)
    rows, columns = height // patch_height, width // patch_width
    if rows * columns == 0:
        raise ValueError(
            f"an image of {height} x {width} pixels is smaller than a patch of "
            f"{patch_height} x {patch_width}; give a larger image"
        )
    return rows, columns


def num_blocks_kept(config: PreTrainedConfig, layer: int) -> int:
    """Returns how many blocks of a tower run to reach a layer.

    Raises:
        ValueError: the tower has no such layer.
    """
    blocks = getattr(config, "num_hidden_layers", None)
    # Towers that halve their map stage by stage count stages there, and list their depths.
    if not isinstance(blocks, int) or getattr(config, "depths", None) is not None:
        raise ValueError(
            f"a {config.model_type!r} tower is no plain stack of blocks; expected a vision "
            "transformer such as siglip, clip, dinov2 or vit"
        )
    kept = layer if layer > 0 else blocks + 1 + layer
    if not 1 <= kept <= blocks:
        raise ValueError(
            f"vision_layer {layer} is not in a tower of {blocks} blocks; expected -1 (its "
            f"output), -2 to {-blocks} from the end, or 1 to {blocks} from the start"
        )
    return kept


def load_encoder(vision: str, *, dtype: torch.dtype) -> tuple[PreTrainedModel, set[str]]:
    """Loads a pretrained encoder, from a model that holds one or from one that is one.

    Args:
        vision: local folder or hub id.
        dtype: of the weights.

    Returns:
        The encoder, and the names of weights that were drawn afresh, since none were found.
    """
    config = vision_part(read_config(vision))
    # Loading a part of a larger model reports every other key as unexpected; that is no news.
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        encoder, report = AutoModel.from_pretrained(
            vision, config=config, dtype=dtype, output_loading_info=True
        )
    finally:
        logging.set_verbosity(verbosity)
    return encoder, set(report["missing_keys"])


def _cut(encoder: PreTrainedModel, layer: int) -> nn.ModuleList:
    """Removes the blocks behind the layer, and what follows the blocks; returns what is left."""
    config = encoder.config
    kept = num_blocks_kept(config, layer)
    found = [
        (name, module)
        for name, module in encoder.named_modules()
        if isinstance(module, nn.ModuleList) and len(module) == config.num_hidden_layers
    ]
    if not found:
        raise ValueError(
            f"{type(encoder).__name__} has no list of {config.num_hidden_layers} blocks; expected "
            "a plain vision transformer such as siglip, clip, dinov2 or vit"
        )
    path, blocks = found[0]
    del blocks[kept:]
    names = [name for name, _ in encoder.named_children()]
    for name in names[names.index(path.split(".")[0]) + 1 :]:
        is_norm = "norm" in type(getattr(encoder, name)).__name__.lower()
        if not (is_norm and layer == -1):
            setattr(encoder, name, nn.Identity())
    return blocks


def _pair(size: int | tuple[int, int] | list[int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (size[0], size[1])
