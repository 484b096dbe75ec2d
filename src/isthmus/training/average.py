"""The moving average of the weights that learn: what a stage is measured with, and ends as."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import final

import torch
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from isthmus.training.sharding import like, own


@final
class Average:
    """Follows some weights, each step by a small share of the way.

    Paper: CogVLM, arXiv 2311.03079, table 6, row "w/o EMA".
    Differs: the paper gives no decay. It begins as the weights are, without a warm-up of its own.
    """

    def __init__(self, weights: Mapping[str, Tensor], decay: float) -> None:
        """Begins as the weights are now.

        Args:
            weights: by name; they learn on as themselves.
            decay: share of the average that a step leaves as it is.
        """
        self._weights = dict(weights)
        self._means = {name: value.detach().clone() for name, value in weights.items()}
        self._follow = get_ema_multi_avg_fn(decay)

    def follow(self) -> None:
        """Goes a share of the way to the weights, after a step of the optimizer."""
        means, weights = (
            [own(value) for value in each.values()] for each in (self._means, self._weights)
        )
        self._follow(means, weights, 0)

    def values(self) -> dict[str, Tensor]:
        """Returns the average by name."""
        return self._means

    def load(self, values: Mapping[str, Tensor]) -> None:
        """Goes on from an average of the same weights.

        Args:
            values: by name.

        Raises:
            ValueError: they are not of the same names.
        """
        if values.keys() != self._means.keys():
            absent = sorted(values.keys() ^ self._means.keys())
            raise ValueError(
                f"the average to go on from and the weights that learn differ in {absent[0]!r}; "
                "train into another folder"
            )
        for name, value in values.items():
            mean = self._means[name]
            own(mean).copy_(own(like(value, mean)))

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Puts the average in the weights' place, for a while."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    @torch.no_grad()
    def settle(self) -> None:
        """Makes the average the weights."""
        for name, weight in self._weights.items():
            own(weight).copy_(own(self._means[name]))

    @torch.no_grad()
    def _exchange(self) -> None:
        for name, weight in self._weights.items():
            mine, mean = own(weight), own(self._means[name])
            kept = mine.clone()
            mine.copy_(mean)
            mean.copy_(kept)
