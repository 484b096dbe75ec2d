"""Making things before they are asked for, in order."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Made = TypeVar("Made")

ITEMS_AHEAD = 4
"""Items made before they are asked for; enough to hide one slow image."""


def made_ahead(
    make: Callable[[Item], Made],
    items: Iterable[Item],
    num_workers: int,
    *,
    ahead: int = ITEMS_AHEAD,
) -> Iterator[Made]:
    """Yields what is made of each item, in order, the next ones being made meanwhile.

    Args:
        make: makes one item; safe to call from several threads.
        items: taken from the caller's thread, a few ahead.
        num_workers: threads that make; 0 makes each item when it is asked for. Threads and not
            processes, since decoding, resizing and tokenizing leave Python's lock, and a process
            would cost its start and a copy of each batch.
        ahead: items made before they are asked for, or as many as there are workers.
    """
    if num_workers == 0:
        yield from map(make, items)
        return
    remaining = iter(items)
    pool = ThreadPoolExecutor(num_workers, thread_name_prefix="isthmus-data")
    try:
        coming: deque[Future[Made]] = deque(
            pool.submit(make, item) for item in islice(remaining, max(ahead, num_workers))
        )
        while coming:
            made = coming.popleft().result()
            coming.extend(pool.submit(make, item) for item in islice(remaining, 1))
            yield made
    finally:
        pool.shutdown(cancel_futures=True)
