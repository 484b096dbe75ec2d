"""A trained model as the commands use it: on the machine's accelerator, when it has one."""

from typing import cast

import torch
from torch import nn

from isthmus import IsthmusForConditionalGeneration, IsthmusProcessor, load
from isthmus.cli._quiet import hush_libraries


def open_model(folder: str) -> tuple[IsthmusForConditionalGeneration, IsthmusProcessor]:
    """Returns the model and the processor that training left in a folder.

    Raises:
        ValueError: the folder holds no finished model.
    """
    hush_libraries()
    model, processor = load(folder)
    device = torch.accelerator.current_accelerator(check_available=True)
    if device is not None:
        # The stubs of transformers take this method for a function of the class.
        cast("nn.Module", model).to(device)
    return model, processor
