"""Joins the processes that a launcher started for one run."""

import os

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs

from isthmus.training.sharding import check_plugin, is_sharded


def join_processes(*, some_unused: bool = False) -> Accelerator:
    """Returns what joins this process to the others of the run, on GPUs or CPUs alike.

    Args:
        some_unused: whether some of what is trained is not used, as a vision tower's mask token,
            so that its gradients are not waited for.

    Raises:
        ValueError: `accelerate launch` was asked for several processes and started one, or for
            what a stage decides.
    """
    # Gradients lie in the buckets in which processes exchange them, rather than beside those.
    options = {"find_unused_parameters": some_unused, "gradient_as_bucket_view": True}
    # Left to itself, accelerate joins processes by way of GPUs alone: on CPUs, each would train
    # the whole and write over the others.
    accelerator = Accelerator(
        mixed_precision="no",
        cpu=not torch.accelerator.is_available(),
        kwargs_handlers=[DistributedDataParallelKwargs(**options)],
    )
    if is_sharded(accelerator):
        check_plugin(accelerator.state.fsdp_plugin)
    launched = "ACCELERATE_MIXED_PRECISION" in os.environ and "MASTER_ADDR" in os.environ
    if accelerator.num_processes == 1 and launched and "WORLD_SIZE" not in os.environ:
        raise ValueError(
            "accelerate launch was asked for several processes but started one, as it does "
            "without a GPU; add --multi_gpu, which starts them on CPUs, too"
        )
    if accelerator.gradient_accumulation_steps != 1:
        raise ValueError(
            f"accelerate launch was given --gradient_accumulation_steps "
            f"{accelerator.gradient_accumulation_steps}; leave it out, and set the stage's "
            "schedule.accumulation"
        )
    return accelerator
