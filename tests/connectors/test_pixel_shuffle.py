"""Which patches become which token, and grids that squares do not fill."""

import pytest
import torch

from isthmus.axes import Patches
from isthmus.connectors.pixel_shuffle import PixelShuffle, joined


def numbered(grid: tuple[int, int], num_frames: int = 1) -> Patches:
    """Patches of width 1 that hold their number."""
    numbers = torch.arange(num_frames * grid[0] * grid[1], dtype=torch.float32)
    return Patches(features=numbers[None, :, None], grid=grid, num_frames=num_frames)


def test_a_square_is_laid_out_row_by_row() -> None:
    assert joined(numbered((2, 6)), 2)[0].tolist() == [
        [0, 1, 6, 7],
        [2, 3, 8, 9],
        [4, 5, 10, 11],
    ]


def test_squares_follow_each_other_frame_after_frame() -> None:
    tokens = joined(numbered((4, 2), num_frames=2), 2)[0].tolist()
    assert tokens == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11], [12, 13, 14, 15]]


def test_a_grid_that_squares_do_not_fill_is_refused() -> None:
    config = PixelShuffle.Config(factor=3)
    message = "factor is 3, which does not divide a grid of 6 x 4 patches"
    with pytest.raises(ValueError, match=message):
        config.num_tokens((6, 4))
    with pytest.raises(ValueError, match=message):
        config.build(d_vision=1, d_text=2, grid=(6, 4))
    connector = config.build(d_vision=1, d_text=2, grid=(6, 3))
    with pytest.raises(ValueError, match=message):
        connector(numbered((6, 4)))
    with pytest.raises(ValueError, match="factor is 0; expected 1 or more"):
        PixelShuffle.Config(factor=0)
