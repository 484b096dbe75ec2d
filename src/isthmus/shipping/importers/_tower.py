"""The tower of BLIP-2 and InstructBLIP: a vision transformer whose final norm is trained with them.

In transformers that norm is the tower's `post_layernorm`. Ours counts it to the Q-Former, with
which it is trained while the tower is frozen; or the tower ends in it, where a recipe says so.
"""

from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor, nn
from transformers import Blip2VisionConfig

from isthmus.connectors.qformer import QFormer
from isthmus.modeling.configuration_vision import IsthmusVisionConfig
from isthmus.vision.fused import TowerConfig
from isthmus.vision.preprocessing import Preprocessing
from isthmus.vision.tower import num_blocks_kept

FINAL_NORM = "post_layernorm"
POSITIONS = "embeddings.position_embedding"
FIELDS = (
    *("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"),
    *("image_size", "patch_size", "hidden_act", "layer_norm_eps", "attention_dropout"),
    *("initializer_range", "qkv_bias"),
)
"""What either of the published configurations says of a tower, under one and the same names."""


def vision_fields(vision_config: Any, wanted: Preprocessing) -> dict[str, Any]:
    """Returns the fields of an `IsthmusVisionConfig` for a published tower.

    The layer is the last block's output: the norm behind it belongs to the Q-Former.

    Args:
        vision_config: of BLIP-2 or InstructBLIP, whose towers are the same.
        wanted: how images are made ready for it.
    """
    settings = {name: getattr(vision_config, name) for name in FIELDS}
    return {
        "vision_config": Blip2VisionConfig(**settings).to_dict(),
        "vision_layer": vision_config.num_hidden_layers,
        "vision_prefix": True,
        "image_size": wanted.image_size,
        "image_mean": list(wanted.mean),
        "image_std": list(wanted.std),
        "image_resample": wanted.resample,
    }


@final
@dataclass(frozen=True, kw_only=True)
class Tower:
    """A tower of ours as the published layouts hold it."""

    settings: dict[str, Any]
    """Fields of a published vision configuration, `layer_norm_eps` among them."""
    norm_eps: float
    """Epsilon of the final norm in our model."""
    weights: dict[str, Tensor]
    """By the names of `Blip2VisionModel`, the final norm's among them."""


def published_tower(
    config: IsthmusVisionConfig, vision_tower: nn.Module, qformer: QFormer
) -> Tower:
    """Returns the tower of a model together with the norm of its patches.

    Raises:
        ValueError: no published layout holds such a tower; the reason is named.
    """
    settings = _check(config)
    encoder = vision_tower.get_submodule("encoder")
    weights: dict[str, Tensor] = dict(encoder.state_dict())
    own, eps = qformer.config.patch_norm_eps, float(settings["layer_norm_eps"])
    has_final = f"{FINAL_NORM}.weight" in weights
    if has_final == (own is not None):
        raise ValueError(
            "BLIP-2's layouts have one norm between the tower's last block and the Q-Former, and "
            f"this model has {'two' if has_final else 'none'} (vision_layer "
            f"{config.vision_layer}, qformer.patch_norm_eps {own}); export blip2_qformer, which "
            "holds no tower"
        )
    if own is not None:
        norm = qformer.patch_norm.state_dict()
        weights |= {f"{FINAL_NORM}.{name}": value for name, value in norm.items()}
    if config.image_size != settings["image_size"]:
        weights[POSITIONS] = _resized(encoder, config.image_size)
        settings["image_size"] = config.image_size
    return Tower(settings=settings, norm_eps=eps if own is None else own, weights=weights)


def eps_note(tower: Tower, there: float) -> tuple[str, ...]:
    """Returns the sentence about a final norm whose epsilon the layout does not hold, if it is."""
    if tower.norm_eps == there:
        return ()
    return (
        f"the norm of the patches has epsilon {tower.norm_eps:g} here and {there:g} there, where "
        "it cannot be set; outputs differ by about the share that this is of the patches' variance",
    )


def _check(config: IsthmusVisionConfig) -> dict[str, Any]:
    """Returns the settings of the one tower, of the blocks that are left."""
    towers = config.towers
    advice = "export blip2_qformer, which holds no tower, or share the isthmus folder itself"
    if len(towers) != 1:
        raise ValueError(
            f"this model has {len(towers)} vision towers, and BLIP-2's layouts hold one; {advice}"
        )
    tower: TowerConfig = towers[0]
    if not isinstance(tower.encoder, Blip2VisionConfig):
        raise ValueError(
            f"the vision tower is a {tower.encoder.model_type!r} model, and BLIP-2's layouts hold "
            f"EVA-style towers alone (blip_2_vision_model); {advice}"
        )
    if len(tower.layers) != 1 or not config.vision_prefix:
        raise ValueError(
            f"the Q-Former reads layers {list(tower.layers)} with vision_prefix "
            f"{config.vision_prefix}; BLIP-2's layouts read one layer, its class token included; "
            f"{advice}"
        )
    settings = {name: getattr(tower.encoder, name) for name in FIELDS}
    settings["num_hidden_layers"] = num_blocks_kept(tower.encoder, tower.layers[0])
    return settings


def _resized(encoder: nn.Module, image_size: int) -> Tensor:
    """Returns the positions for images of another size, as the tower makes them for each batch."""
    embeddings: Any = encoder.get_submodule("embeddings")
    side = image_size // embeddings.patch_size
    patches = torch.empty(1, side * side + 1, embeddings.embed_dim)
    with torch.no_grad():
        positions: Tensor = embeddings.interpolate_pos_encoding(patches, image_size, image_size)
    return positions.contiguous()
