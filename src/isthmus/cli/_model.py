"""A trained model as the commands use it: on the machine's accelerator, when it has one."""

from pathlib import Path
from typing import Any

import torch
from huggingface_hub import try_to_load_from_cache

from isthmus import (
    IsthmusAlignmentProcessor,
    IsthmusForAlignment,
    IsthmusForConditionalGeneration,
    IsthmusProcessor,
    load,
    load_alignment,
)
from isthmus.cli._console import plain
from isthmus.cli._quiet import hush_libraries
from isthmus.evaluation.results import RECIPE_FILE
from isthmus.microworld.towers import located
from isthmus.training.run_folder import read_description


def open_model(folder: str) -> tuple[IsthmusForConditionalGeneration, IsthmusProcessor]:
    """Returns the model and the processor that training left in a folder.

    Raises:
        ValueError: the folder holds no finished model.
    """
    hush_libraries()
    model, processor = load(folder)
    to_accelerator(model)
    return model, processor


def open_alignment(folder: str) -> tuple[IsthmusForAlignment, IsthmusAlignmentProcessor]:
    """Returns the model that holds images and texts together, and its processor.

    Raises:
        ValueError: the folder holds no such model.
    """
    hush_libraries()
    model, processor = load_alignment(folder)
    to_accelerator(model)
    return model, processor


def to_accelerator(model: Any) -> None:
    """Moves a model to the machine's accelerator, when it has one."""
    device = torch.accelerator.current_accelerator(check_available=True)
    if device is not None:
        model.to(device)


def language_before(asked: str | None, folder: str) -> str | None:
    """Returns the language model that a model was built from, as `from_pretrained` takes it.

    Args:
        asked: its name, `none`, or None for that of the recipe in the model's folder; where it is
            not on this machine, this is said, and it is left out.
        folder: of the model.
    """
    if asked is not None:
        return None if asked == "none" else located(asked)
    if not (Path(folder) / RECIPE_FILE).is_file():
        _miss(f"{folder} has no {RECIPE_FILE}, which tells what the model was built from")
        return None
    name = read_description(Path(folder))["recipe"]["model"].get("language")
    if name is None:
        return None
    name = located(name)
    cached = Path(name).is_dir() or try_to_load_from_cache(name, "config.json")
    if cached is True or isinstance(cached, str):
        return name
    _miss(f"{name}, which the model was built from, is not on this machine")
    return None


def _miss(why: str) -> None:
    plain(stderr=True).print(
        f"What became of text alone is not measured: {why}. Name the language model with --before, "
        "or none."
    )
