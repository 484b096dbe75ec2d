"""A computation of shapes alone: what it takes in operations and memory, without doing it.

Within `Shapes`, tensors of the meta device have a shape and no content, as everywhere. But whole
numbers and truth values are really computed, on the CPU, since the flow depends on them: where the
placeholders of images are, how many labels there are. So a model runs forward and backward by the
very code that trains it, whatever its connector and fusion.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, final
from weakref import finalize

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

_BY_MASK = (
    torch.ops.aten.index.Tensor,
    torch.ops.aten.index_put.default,
    torch.ops.aten.index_put_.default,
)
"""Operations that take truth values as places."""


@final
class Shapes(TorchDispatchMode):
    """Computes shapes, and counts the bytes of the tensors that are alive."""

    def __init__(self, alive: Iterable[Tensor] = ()):
        """Begins to count.

        Args:
            alive: tensors that are there already, such as weights.
        """
        super().__init__()
        self.bytes = 0
        """Of tensors without content that are alive."""
        self.most_bytes = 0
        """The most that there were at once."""
        self._counted: set[int] = set()
        for tensor in alive:
            self._count(tensor)

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Runs an operation on the CPU if all is known, else on shapes."""
        named = dict(kwargs or {})
        tensors = [each for each in tree_leaves((args, named)) if isinstance(each, Tensor)]
        if not any(tensor.is_meta for tensor in tensors):
            if _goes_to_meta(named) and _is_known(args, named, tensors):
                named["device"] = torch.device("cpu")
        else:
            if func in _BY_MASK:
                args = (args[0], _places(args[1]), *args[2:])
            args, named = tree_map_only(Tensor, lambda t: t.to("meta"), (args, named))
        result = func(*args, **named)
        for each in tree_leaves(result):
            if isinstance(each, Tensor) and each.is_meta:
                self._count(each)
        return result

    def _count(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        if storage._cdata in self._counted:
            return
        self._counted.add(storage._cdata)
        self.bytes += storage.nbytes()
        self.most_bytes = max(self.most_bytes, self.bytes)
        finalize(storage, self._forget, storage._cdata, storage.nbytes())

    def _forget(self, key: int, size: int) -> None:
        self._counted.discard(key)
        self.bytes -= size


@contextmanager
def fused_attention() -> Iterator[None]:
    """Has attention keep no weights for a while, as the kernels of devices do; shapes know none.

    A mode of torch's would do, but it is left during the backward pass, where layers may run again.
    """
    usual = functional.scaled_dot_product_attention

    def fused(query: Tensor, key: Tensor, value: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        groups = query.shape[1] // key.shape[1]
        if groups > 1:
            key, value = (each.repeat_interleave(groups, dim=1) for each in (key, value))
        return torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(query, key, value)[0]

    functional.scaled_dot_product_attention = fused
    try:
        yield
    finally:
        functional.scaled_dot_product_attention = usual


def _goes_to_meta(named: Mapping[str, Any]) -> bool:
    device = named.get("device")
    return device is not None and torch.device(device).type == "meta"


def _is_known(args: Sequence[Any], named: Mapping[str, Any], tensors: Sequence[Tensor]) -> bool:
    """Returns whether the result is of whole numbers or truth values."""
    if (kind := named.get("dtype")) is not None:
        return _is_whole(kind)
    if tensors:
        return _is_whole(tensors[0].dtype)
    numbers = [each for each in args if not isinstance(each, list | tuple)]
    return bool(numbers) and all(
        isinstance(each, int) for each in numbers
    )  # arange(9), full(.., 9)


def _is_whole(kind: torch.dtype) -> bool:
    return not (kind.is_floating_point or kind.is_complex)


def _places(indices: Sequence[Tensor | None]) -> list[Tensor | None]:
    """Returns truth values as numbers of places, how many of which there are is known then."""
    found: list[Tensor | None] = []
    for each in indices:
        is_mask = each is not None and each.dtype is torch.bool and not each.is_meta
        found += each.nonzero(as_tuple=True) if is_mask else [each]  # type: ignore[union-attr]
    return found
