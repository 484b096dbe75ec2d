"""A computation of shapes alone: what it takes in operations and memory, without doing it.

Within `Shapes`, tensors of the meta device have a shape and no content, as everywhere. But whole
numbers and truth values are really computed, on the CPU, since the flow depends on them: where the
placeholders of images are, how many labels there are. So a model runs forward and backward by the
very code that trains it, whatever its connector and fusion.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, final
from weakref import WeakValueDictionary, finalize

import torch
from torch import Tensor
from torch.autograd.graph import get_gradient_edge
from torch.overrides import TorchFunctionMode
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


@final
class Kernels(TorchFunctionMode):
    """Has shapes be computed as a device's kernels would: attention keeps no weights of its own.

    In half precision, casts are made as `torch.autocast`, which knows no shapes, does on a GPU:
    those of products, and those to float32 that matter.
    """

    def __init__(self, half: torch.dtype | None = None) -> None:
        """Sets the number format of products.

        Args:
            half: bfloat16 or float16; None leaves all as it is.
        """
        super().__init__()
        self._half = half
        self._copies: WeakValueDictionary[int, Tensor] = WeakValueDictionary()
        self._kept: list[Tensor] | None = None

    @contextmanager
    def forward_pass(self) -> Iterator[None]:
        """Keeps the copies of weights that learn, as autocast does until it is left.

        In a backward pass, layers that run again enter autocast each by itself.
        """
        self._kept = []
        try:
            yield
        finally:
            self._kept = None

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Runs a function of torch."""
        name, named = getattr(func, "__name__", ""), dict(kwargs or {})
        if self._half is not None and (name in _IN_HALF or name in _IN_FULL):
            kind = self._half if name in _IN_HALF else torch.float32
            args, named = tree_map_only(Tensor, lambda t: self._cast(t, kind), (args, named))
        if name == "scaled_dot_product_attention":
            return _fused_attention(*args, **named)
        return func(*args, **named)

    def _cast(self, value: Tensor, kind: torch.dtype) -> Tensor:
        if not value.is_floating_point() or value.dtype == kind:
            return value
        # Autocast makes one copy of a weight that learns, and one in each place of a frozen one.
        if not (value.is_leaf and value.requires_grad):
            return value.to(kind)
        if (copy := self._copies.get(id(value))) is None:
            copy = self._copies[id(value)] = value.to(kind)
            if self._kept is not None:
                self._kept.append(copy)
        return copy


def backward(total: Tensor) -> None:
    """Computes the gradients of a sum, within the modes of its caller, as layers may run again.

    Args:
        total: one number.
    """
    # A mode is off while it handles a function that is given tensors, and an edge is none.
    torch.autograd.backward(get_gradient_edge(total), torch.ones_like(total))


_IN_HALF = frozenset(
    (
        *("linear", "matmul", "__matmul__", "mm", "bmm", "baddbmm", "addmm", "addbmm", "einsum"),
        *("conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d"),
        "scaled_dot_product_attention",
    )
)
_IN_FULL = frozenset(
    (
        *("layer_norm", "group_norm", "rms_norm", "norm", "normalize", "interpolate"),
        *("softmax", "log_softmax", "logsumexp", "softplus"),
        *("exp", "log", "pow", "__pow__", "rsqrt", "reciprocal", "sum", "prod", "cumsum"),
        *("cosine_similarity", "cross_entropy", "mse_loss", "binary_cross_entropy_with_logits"),
    )
)


def _fused_attention(
    query: Tensor, key: Tensor, value: Tensor, *args: Any, **kwargs: Any
) -> Tensor:
    groups = query.shape[1] // key.shape[1]
    if groups > 1:
        key, value = (each.repeat_interleave(groups, dim=1) for each in (key, value))
    return torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(query, key, value)[0]


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
