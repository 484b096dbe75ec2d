"""Joins the processes that a launcher started for one run."""

import os

import torch
from accelerate import Accelerator


def join_processes() -> Accelerator:
    """Returns what joins this process to the others of the run, on GPUs or CPUs alike.

    Raises:
        ValueError: `accelerate launch` was asked for several processes and started one.
    """
    # Left to itself, accelerate joins processes by way of GPUs alone: on CPUs, each would train
    # the whole and write over the others.
    accelerator = Accelerator(mixed_precision="no", cpu=not torch.accelerator.is_available())
    launched = "ACCELERATE_MIXED_PRECISION" in os.environ and "MASTER_ADDR" in os.environ
    if accelerator.num_processes == 1 and launched and "WORLD_SIZE" not in os.environ:
        raise ValueError(
            "accelerate launch was asked for several processes but started one, as it does "
            "without a GPU; add --multi_gpu, which starts them on CPUs, too"
        )
    return accelerator
