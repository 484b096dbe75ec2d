"""What each process computes of a batch."""

from collections.abc import Sequence
from dataclasses import replace

from accelerate import Accelerator

from isthmus.axes import Batch
from isthmus.data.faults import NothingReadable
from isthmus.data.order import share
from isthmus.training.examples import Dataset
from isthmus.training.stage import Stage
from isthmus.training.step import Piece


def pieces_of(
    dataset: Dataset,
    batch: Sequence[int],
    *,
    accumulation: int,
    accelerator: Accelerator,
) -> list[Piece]:
    """Returns what this process computes of a global batch.

    Every process computes as many pieces, for each waits for the others; where it has no sample of
    its own, or none that can be read, it computes one that counts for nothing.

    Args:
        dataset: holds the examples.
        batch: examples of all processes.
        accumulation: pieces of each process.
        accelerator: knows the processes.

    Raises:
        Fault: an image cannot be read, and the dataset does not leave such examples out.
        NothingReadable: of the whole batch, no image can be read.
    """
    processes, process = accelerator.num_processes, accelerator.process_index
    pieces: list[Piece] = []
    lost = 0
    for number in range(accumulation):
        indices = share(batch, pieces=accumulation * processes, piece=number * processes + process)
        mine = _readable(dataset, indices)
        lost += dataset.held(indices) - (mine.num_samples if mine else 0)
        if mine or processes > 1:
            pieces.append(Piece(mine or _stand_in(dataset, batch), refused=lost))
            lost = 0
    if not pieces:
        raise NothingReadable(f"none of the {len(batch)} samples of a step can be read")
    if lost:
        pieces[-1] = replace(pieces[-1], refused=pieces[-1].refused + lost)
    return pieces


def _readable(dataset: Dataset, indices: Sequence[int]) -> Batch | None:
    """Returns those examples that can be read, None where there is none."""
    if not indices:
        return None
    try:
        return dataset.batch(indices)
    except NothingReadable:
        return None


def _stand_in(dataset: Dataset, batch: Sequence[int]) -> Batch:
    """Returns an example of the batch that can be read."""
    found = (_readable(dataset, [index]) for index in batch)
    example = next((each for each in found if each), None)
    if example is None:
        raise NothingReadable(f"none of the {len(batch)} samples of a step can be read")
    return replace(example, stand_in=True)


def least_samples(stage: Stage) -> int:
    """Returns how many samples what is computed at once needs, for every objective of a stage."""
    return max(objective.least_samples for objective in stage.objectives)


def check_pieces(stage: Stage, num_processes: int) -> None:
    """Checks that what is computed at once is enough for every objective.

    Args:
        stage: whose batches are cut.
        num_processes: that share each.

    Raises:
        ValueError: it is not.
    """
    schedule = stage.schedule
    pieces = schedule.accumulation * num_processes
    least = least_samples(stage)
    if schedule.batch_size < least * pieces:
        raise ValueError(
            f"stage {stage.name!r} computes its batches of {schedule.batch_size} in {pieces} "
            f"pieces, and each piece needs at least {least}; raise schedule.batch_size to "
            f"{least * pieces}, lower schedule.accumulation, or take fewer processes"
        )
