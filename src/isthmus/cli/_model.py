"""A trained model as the commands use it: on the machine's accelerator, when it has one."""

from typing import Any

import torch

from isthmus import (
    IsthmusAlignmentProcessor,
    IsthmusForAlignment,
    IsthmusForConditionalGeneration,
    IsthmusProcessor,
    load,
    load_alignment,
)
from isthmus.cli._quiet import hush_libraries


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
