"""Deformable attention reads where it should, in numbers as fine as the places need."""

import math

import pytest
import torch
from torch import Tensor

from isthmus.connectors._deformable import DeformableAttention, read_between

GRID = (3, 4)


def read(values: Tensor, places: list[tuple[float, float]], grid: tuple[int, int]) -> Tensor:
    """What lies at each place (column, row): one image, head, level and point, weights of 1."""
    x, y = torch.tensor(places, dtype=values.dtype).T.reshape(2, 1, len(places), 1, 1, 1)
    return read_between(values[None, :, None], x, y, torch.ones_like(x), grid)[0, :, 0]


def test_a_cell_is_read_at_its_middle_and_between_cells_their_mean() -> None:
    values = torch.randn(12, 5)
    maps = values.reshape(*GRID, 5)
    places = [(0.0, 0.0), (3.0, 2.0), (1.5, 0.0), (2.0, 0.25), (0.5, 1.5)]
    found = read(values, places, GRID)
    expected = [
        maps[0, 0],
        maps[2, 3],
        (maps[0, 1] + maps[0, 2]) / 2,
        0.75 * maps[0, 2] + 0.25 * maps[1, 2],
        (maps[1, 0] + maps[1, 1] + maps[2, 0] + maps[2, 1]) / 4,
    ]
    torch.testing.assert_close(found, torch.stack(expected))


def test_outside_the_map_there_are_zeros() -> None:
    values = torch.randn(12, 5)
    maps = values.reshape(*GRID, 5)
    found = read(values, [(-0.5, 0.0), (3.25, 2.5), (-1.0, 0.0), (4.0, 1.0), (1e9, -1e9)], GRID)
    torch.testing.assert_close(found[0], 0.5 * maps[0, 0])
    torch.testing.assert_close(found[1], 0.75 * 0.5 * maps[2, 3])
    assert (found[2:] == 0).all()


@pytest.mark.parametrize("lost", [math.nan, math.inf, -math.inf])
def test_a_lost_place_gives_a_lost_number_to_its_query_alone(lost: float) -> None:
    found = read(torch.randn(12, 5), [(1.0, 1.0), (lost, 1.0)], GRID)
    assert found[0].isfinite().all()
    assert found[1].isnan().all()


def test_levels_heads_and_images_are_told_apart() -> None:
    images, heads, levels = 2, 3, 2
    values = torch.randn(images, levels * 12, heads, 5)
    x = torch.full((images, 1, heads, levels, 1), 2.0)
    weights = torch.tensor([1.0, 10.0]).reshape(levels, 1).expand_as(x)
    found = read_between(values, x, torch.ones_like(x), weights, GRID)
    cell = 1 * 4 + 2
    expected = values[:, cell] + 10 * values[:, 12 + cell]
    torch.testing.assert_close(found[:, 0], expected)


def test_gradients_are_those_of_differences() -> None:
    generator = torch.Generator().manual_seed(1)

    def drawn(*shape: int) -> Tensor:
        return torch.rand(shape, dtype=torch.float64, generator=generator).requires_grad_()

    shape = (2, 3, 2, 2, 2)
    values, x, y, weights = drawn(2, 24, 2, 4), drawn(*shape), drawn(*shape), drawn(*shape)

    def loss(values: Tensor, x: Tensor, y: Tensor, weights: Tensor) -> Tensor:
        # Some of the places lie outside.
        return read_between(values, 7 * x - 2, 6 * y - 2, weights, GRID)

    assert torch.autograd.gradcheck(loss, (values, x, y, weights))


def test_places_are_exact_in_half_precision() -> None:
    # The middle of two cells of 256, which bfloat16 would round to a cell.
    attention = DeformableAttention(8, num_heads=1, num_points=1, num_levels=1)
    for parameter in attention.parameters():
        torch.nn.init.zeros_(parameter)
    for linear in (attention.value, attention.output):
        linear.weight.data = torch.eye(8)
    attention.bfloat16()
    columns = torch.arange(256)
    features = (columns % 2 == 0).to(torch.bfloat16).reshape(1, 256, 1).expand(1, 256, 8)
    points = torch.tensor([[200 / 256, 0.5]], dtype=torch.bfloat16)
    found = attention(torch.zeros(1, 1, 8, dtype=torch.bfloat16), points, features, (1, 256))
    assert found.dtype == torch.bfloat16
    assert (found == 0.5).all()


def test_spread_points_look_each_way_at_growing_distance() -> None:
    attention = DeformableAttention(16, num_heads=8, num_points=3, num_levels=2)
    attention.spread_points()
    offsets = attention.offsets.bias.reshape(8, 2, 3, 2)
    directions = [(1, 0), (1, 1), (0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1)]
    for step in range(3):
        for level in range(2):
            expected = torch.tensor(directions) * (step + 1.0)
            torch.testing.assert_close(offsets[:, level, step], expected, atol=1e-5, rtol=0)
    for parameter in (attention.offsets.weight, *attention.weights.parameters()):
        assert (parameter == 0).all()
    assert attention.value.weight.abs().max() <= math.sqrt(6 / 32)
    assert attention.value.weight.std() > 0.5 * math.sqrt(2 / 32)
