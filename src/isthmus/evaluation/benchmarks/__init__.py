"""The benchmarks, one file each; the folder is the registry.

A module binds `BENCHMARK` to a final class whose constructor takes the data file and the image root
first, then `samples` where the file is already read, then what this benchmark alone needs.
"""

from isthmus import kinds
from isthmus.evaluation.benchmark import Benchmark


def of_kind(kind: str) -> type[Benchmark]:
    """Returns the benchmark class of a kind.

    Raises:
        ValueError: there is no such benchmark; the message lists those there are.
    """
    benchmark: type[Benchmark] = kinds.load(__name__, kind).BENCHMARK
    return benchmark
