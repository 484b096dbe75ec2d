"""What the processes of a run tell each other of their batches, for losses that span them all."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, distributed
from torch.nn.functional import pad


def num_processes() -> int:
    """Returns the number of processes; 1 where there is no group."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def rank() -> int:
    """Returns the number of this process; 0 where there is no group."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def batch_sizes(own: int, device: torch.device) -> list[int]:
    """Returns the rows that each process holds."""
    if num_processes() == 1:
        return [own]
    sizes = [torch.zeros(1, dtype=torch.int64, device=device) for _ in range(num_processes())]
    distributed.all_gather(sizes, torch.tensor([own], device=device))
    return torch.cat(sizes).tolist()


def gathered(values: Tensor, sizes: Sequence[int], *, gradient: bool = False) -> Tensor:
    """Returns what all processes hold, one behind the other.

    Args:
        values: rows that differ between the processes in number alone.
        sizes: how many each process holds, see `batch_sizes`.
        gradient: whether the gradient flows back to where each row came from.
    """
    if len(sizes) == 1:
        return values if gradient else values.detach()
    missing = max(sizes) - len(values)
    padded = pad(values, (0, 0) * (values.ndim - 1) + (0, missing)).contiguous()
    everyones = _Gather.apply(padded if gradient else padded.detach())
    parts = zip(everyones.split(len(padded)), sizes, strict=True)
    return torch.cat([part[:size] for part, size in parts])


def fetched(values: Tensor, wanted: Tensor, sizes: Sequence[int]) -> Tensor:
    """Returns rows of any process; no more than these travel, and no gradient.

    Args:
        values: rows of this process.
        wanted: numbers of rows, counted over all processes.
        sizes: how many each process holds.
    """
    if len(sizes) == 1:
        return values[wanted].detach()
    first = torch.tensor([0, *sizes[:-1]], device=wanted.device).cumsum(0)
    owner = torch.bucketize(wanted, first, right=True) - 1
    order = owner.argsort(stable=True)
    asked = torch.bincount(owner, minlength=len(sizes))
    told = torch.empty_like(asked)
    distributed.all_to_all_single(told, asked)
    ins, outs = told.tolist(), asked.tolist()
    theirs = wanted.new_empty(sum(ins))
    distributed.all_to_all_single(theirs, (wanted - first[owner])[order], ins, outs)
    rows = values.new_empty(len(wanted), *values.shape[1:])
    distributed.all_to_all_single(rows, values.detach()[theirs].contiguous(), outs, ins)
    return torch.empty_like(rows).index_copy_(0, order, rows)


class _Gather(torch.autograd.Function):
    """What all processes hold; the gradient of a row comes back from all that read it."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        """Gathers."""
        parts = [torch.empty_like(values) for _ in range(num_processes())]
        distributed.all_gather(parts, values)
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        """Sums what each process has for the rows of each, and takes its own."""
        whole = gradients[0].contiguous()
        distributed.all_reduce(whole)
        return whole.chunk(num_processes())[rank()]
