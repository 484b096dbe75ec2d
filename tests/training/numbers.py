"""Examples that are numbers, where it matters which are due and not what they hold."""

from collections.abc import Sequence

from isthmus.axes import Batch


class Numbers:
    """Examples that are numbers, each as long as it is large."""

    def __init__(self, num: int):
        self.num = num

    def __len__(self) -> int:
        return self.num

    def lengths(self) -> list[int]:
        return list(range(self.num))

    def held(self, indices: Sequence[int]) -> int:
        return len(indices)

    def batch(self, indices: Sequence[int]) -> Batch:
        raise NotImplementedError

    def num_cut(self) -> int:
        return 0
