"""Files of LAVIS: their weights, and the vision tower that may lie in one of its own."""

from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from transformers import Blip2VisionConfig, Blip2VisionModel

from isthmus.keys import fits
from isthmus.modeling.weights import readable_weights
from isthmus.pretrained import read_config
from isthmus.shipping.imported import check_shapes, shapes_of
from isthmus.shipping.importers import lavis_vision
from isthmus.shipping.importers._tower import FIELDS, FINAL_NORM
from isthmus.vision.tower import load_encoder, vision_part


def read_weights(file: Path) -> dict[str, Tensor]:
    """Returns the weights of a file of tensors; nothing else that it may hold is run.

    Raises:
        ValueError: there is no such file, or it does not hold tensors alone.
    """
    if file.is_dir():
        raise ValueError(
            f"{file} is a folder, and LAVIS keeps a model in one file; expected its .pth or "
            ".safetensors; for a folder of transformers leave out kind 'lavis'"
        )
    if not file.is_file():
        raise ValueError(f"there is no file {file}; expected the .pth or .safetensors of LAVIS")
    try:
        if file.suffix == ".safetensors":
            return load_file(file)
        held = torch.load(file, weights_only=True, map_location="cpu")
    except (UnpicklingError, RuntimeError, EOFError, SafetensorError) as error:
        raise ValueError(
            f"{file} cannot be read as tensors alone ({error}); save its state dict by itself"
        ) from error
    held = held.get("model", held) if isinstance(held, Mapping) else held
    if not isinstance(held, Mapping) or not all(isinstance(v, Tensor) for v in held.values()):
        raise ValueError(f"{file} holds no state dict, neither as a whole nor under 'model'")
    return dict(held)


def read_tower(
    file: Path, weights: Mapping[str, Tensor], vision: str | None, dtype: torch.dtype
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Returns the settings of the tower, and its weights by the names of `Blip2VisionModel`.

    The final norm is not among them: LAVIS keeps it with the Q-Former.

    Args:
        file: of the whole model.
        weights: that it holds.
        vision: where the tower lies when the file does not hold it, see `LavisSource`.
        dtype: of the weights.

    Raises:
        ValueError: there is no tower or there are two, or one lacks a weight or is of another kind.
    """
    prefix = lavis_vision.PREFIX
    held = {n.removeprefix(prefix): v for n, v in weights.items() if n.startswith(prefix)}
    if held and vision is not None:
        raise ValueError(
            f"{file} holds its vision tower, and would ignore {vision!r}; leave it out"
        )
    if held:
        return _of_lavis(held, file, dtype, prefix=prefix)
    if vision is None:
        raise ValueError(
            f"{file} holds no vision tower, as where it was frozen; give `vision`: LAVIS's "
            "eva_vit_g.pth, or the folder or hub id of a BLIP-2 of transformers"
        )
    if Path(vision).is_file():
        return _of_lavis(_without_last(read_weights(Path(vision))), vision, dtype)
    return _of_transformers(vision, dtype)


def _without_last(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns a tower as LAVIS builds it of a file of its own: no last block, no norm, no head."""
    blocks = [int(name.split(".")[1]) for name in weights if name.startswith("blocks.")]
    last = f"blocks.{max(blocks, default=0)}."
    known = (*(theirs for theirs, _ in lavis_vision.PAIRS), *lavis_vision.BIASES)
    return {n: v for n, v in weights.items() if fits(known, n) and not n.startswith(last)}


def _of_lavis(
    held: Mapping[str, Tensor], source: str | Path, dtype: torch.dtype, *, prefix: str = ""
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    settings = lavis_vision.settings(held)
    with torch.device("meta"):
        model = Blip2VisionModel(Blip2VisionConfig(**settings))
    own = {n: v for n, v in model.state_dict().items() if not n.startswith(f"{FINAL_NORM}.")}
    found, expected = (
        {f"{prefix}{name}": shape for name, shape in shapes_of(weights).items()}
        for weights in (held, lavis_vision.to_theirs(own))
    )
    check_shapes(found, expected, source)
    return settings, lavis_vision.to_ours({name: v.to(dtype) for name, v in held.items()})


def _of_transformers(vision: str, dtype: torch.dtype) -> tuple[dict[str, Any], dict[str, Tensor]]:
    config = vision_part(read_config(vision))
    if not isinstance(config, Blip2VisionConfig):
        raise ValueError(
            f"{vision!r} holds a {config.model_type!r} tower, and LAVIS's is EVA-style; expected a "
            "blip_2_vision_model, or a model that holds one"
        )
    with readable_weights(vision):
        encoder, fresh = load_encoder(vision, dtype=dtype)
    if absent := sorted(name for name in fresh if not name.startswith(FINAL_NORM)):
        raise ValueError(f"{vision!r} lacks {absent[0]!r} of its vision tower; copy it again")
    weights = {n: v for n, v in encoder.state_dict().items() if not n.startswith(FINAL_NORM)}
    return {name: getattr(config, name) for name in FIELDS}, weights
