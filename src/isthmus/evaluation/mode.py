"""The mode in which models are measured."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def measured(model: nn.Module) -> Iterator[None]:
    """Puts a model into evaluation mode, and computes no gradients, for a while.

    Each module is put back as it was: while a model is trained, its frozen parts are in evaluation
    mode already.
    """
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        for module, training in modes:
            module.training = training
