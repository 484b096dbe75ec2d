"""A folder with what was trained and nothing else: a few megabytes that know their towers.

`load` joins them to the towers again, which must be the same to the bit, and merges low-rank
updates, so what comes back is the model that saving all of it would have given.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import cast, final

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from isthmus.config import Config
from isthmus.microworld.towers import located
from isthmus.modeling import fingerprint
from isthmus.modeling.configuration_isthmus import IsthmusConfig
from isthmus.modeling.lora import Lora, add_lora, lora_parameters, merge_lora
from isthmus.modeling.modeling_isthmus import IsthmusForConditionalGeneration
from isthmus.modeling.weights import put_weights, readable_weights, weights_of

TRAINED_FILE = "trained.safetensors"
TOWERS_FILE = "towers.json"


@final
@dataclass(frozen=True, kw_only=True)
class Towers(Config):
    """What trained weights are to be joined with."""

    vision: tuple[str, ...]
    """Local folder or hub id of each vision tower."""
    language: str
    """Local folder or hub id of the language model."""
    fingerprints: dict[str, str]
    """Of the parts that were not changed, before training."""
    lora: dict[str, Lora]
    """Low-rank updates by part."""


def save_trained(
    folder: str | PathLike[str],
    model: IsthmusForConditionalGeneration,
    *,
    weights: Mapping[str, Tensor],
    towers: Towers,
) -> None:
    """Saves trained weights, the configuration, and what they belong to."""
    root = Path(folder)
    model.config.save_pretrained(root)
    save_file(dict(weights), root / TRAINED_FILE)
    (root / TOWERS_FILE).write_text(json.dumps(towers.to_dict(), indent=2) + "\n", "utf-8")


def load_trained(
    folder: Path, config: IsthmusConfig, *, dtype: torch.dtype | None = None
) -> IsthmusForConditionalGeneration:
    """Joins trained weights with their towers.

    Args:
        folder: that `save_trained` wrote.
        config: its configuration.
        dtype: of the weights; float32 by default.

    Raises:
        ValueError: a tower is not there, or no longer the one that was trained with.
    """
    towers = Towers.from_dict(json.loads((folder / TOWERS_FILE).read_text("utf-8")))
    model = IsthmusForConditionalGeneration.join(
        config,
        vision=[located(name) for name in towers.vision],
        language=located(towers.language),
    )
    parts = model.parts()
    for name, expected in towers.fingerprints.items():
        found = fingerprint.of_weights(parts[name].state_dict())
        if found != expected:
            raise ValueError(
                f"{folder} was trained with the {name} {expected}, but now it is {found} (vision "
                f"{towers.vision!r}, language {towers.language!r}); restore it"
            )
    for name, lora in towers.lora.items():
        add_lora(parts[name], lora)
    with readable_weights(folder):
        weights = load_file(folder / TRAINED_FILE)
    put_weights(model, weights, folder)
    wanted: list[Tensor] = []
    for name, part in parts.items():
        if name in towers.lora:
            wanted += lora_parameters(part)
        elif name not in towers.fingerprints:
            wanted += part.state_dict().values()
    if absent := sorted(weights_of(model, wanted).keys() - weights.keys()):
        raise ValueError(
            f"{folder} lacks {absent[0]}, which was trained; copy the whole folder again"
        )
    for name in towers.lora:
        merge_lora(parts[name])
    # The stubs of transformers take this method for a function of the class.
    cast("nn.Module", model).to(dtype or torch.float32)
    return model.eval()
