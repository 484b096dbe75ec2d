"""Shapes alone: what is alive, what is known, and where half precision is."""

import pytest
import torch
from torch.nn.functional import layer_norm, linear, scaled_dot_product_attention
from torch.utils.checkpoint import checkpoint

from isthmus.study.shapes import Kernels, Shapes, backward


def test_what_is_alive_is_counted() -> None:
    """x of 4 x 8 by a weight of 8 x 16: what backward needs stays, everything else goes."""
    weight = torch.empty(8, 16, device="meta", requires_grad=True)
    shapes = Shapes([weight])
    assert shapes.bytes == 4 * 8 * 16
    with shapes:
        x = torch.empty(4, 8, device="meta")
        y = x @ weight
        assert shapes.bytes == 4 * (8 * 16 + 4 * 8 + 4 * 16)
        loss = y.relu().sum()
        del y
        assert shapes.bytes == 4 * (8 * 16 + 4 * 8 + 4 * 16 + 1)  # relu kept its result alone
        loss.backward()
        del loss
        assert shapes.bytes == 4 * (2 * 8 * 16 + 4 * 8)
    assert shapes.most_bytes > shapes.bytes


def test_numbers_are_known_where_the_flow_depends_on_them() -> None:
    with Shapes():
        ids = torch.arange(6, device="meta")
        mask = ids > 2
        values = torch.empty(6, 5, device="meta")
        assert int(mask.sum()) == 3
        assert values[mask].shape == (3, 5)
        with pytest.raises(RuntimeError, match="cannot be called on meta tensors"):
            values.sum().item()


def test_attention_keeps_no_weights() -> None:
    query, key = torch.empty(1, 4, 64, 8, device="meta"), torch.empty(1, 2, 64, 8, device="meta")
    shapes = Shapes()
    with shapes, Kernels():
        found = scaled_dot_product_attention(query, key, key, enable_gqa=True)
    assert found.shape == query.shape
    assert shapes.most_bytes < 4 * 4 * 64 * 64  # of the weights alone


def test_half_precision_is_where_autocast_puts_it() -> None:
    """A weight that learns has one copy, which lives as long as the backward pass needs it."""
    x = torch.empty(2, 8, device="meta", requires_grad=True)
    learning = torch.empty(8, 8, device="meta", requires_grad=True)
    shapes = Shapes([x, learning])
    with shapes, Kernels(torch.bfloat16):
        begun = shapes.bytes
        found = linear(linear(x, learning), learning)
        assert found.dtype == torch.bfloat16
        of_weight, of_rows = 2 * 8 * 8, 2 * 2 * 8
        assert shapes.bytes - begun == of_weight + 3 * of_rows  # x, what is between, and the result
        assert layer_norm(found, (8,)).dtype == torch.float32
        assert (found + x).dtype == torch.float32
        frozen = learning.detach()
        before = shapes.bytes
        twice = [linear(found, frozen) for _ in range(2)]
        assert shapes.bytes - before == 2 * (of_weight + of_rows)
        del twice, found
        assert shapes.bytes == begun


def test_copies_of_weights_stay_up_to_the_loss() -> None:
    """Even those of layers that run again, in the backward pass, with a copy of their own."""
    x = torch.empty(2, 8, device="meta")
    learning = torch.empty(8, 8, device="meta", requires_grad=True)
    shapes, kernels = Shapes([x, learning]), Kernels(torch.bfloat16)
    copy = 2 * 8 * 8
    with shapes, kernels:
        begun = shapes.bytes
        with kernels.forward_pass():
            found = checkpoint(linear, x, learning, use_reentrant=False)
            result = found.nbytes
            assert shapes.bytes - begun == copy + result
        assert shapes.bytes - begun == result
        total = found.float().sum()
        shapes.most_bytes = shapes.bytes
        backward(total)
        assert shapes.most_bytes - begun > copy
        assert learning.grad is not None
        del found, total
        assert shapes.bytes - begun == learning.grad.nbytes
