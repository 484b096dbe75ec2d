"""The C-Abstractor keeps places: what it pools, and how far a token sees."""

import pytest
import torch
from torch import Tensor

from isthmus.axes import Patches
from isthmus.connectors.c_abstractor import CAbstractor

WIDTH = 12


def built(grid: tuple[int, int], **settings: object) -> CAbstractor:
    config = CAbstractor.Config.from_dict(settings)
    connector = config.build(d_vision=WIDTH, d_text=WIDTH, grid=grid).eval()
    assert isinstance(connector, CAbstractor)
    return connector


def pooling_only(grid: tuple[int, int], query_grid: tuple[int, int]) -> CAbstractor:
    """One whose tokens are the pooled patches themselves."""
    rows, columns = query_grid
    settings = {"depth": 0, "readout_depth": 1, "positions": False, "query_grid": [rows, columns]}
    connector = built(grid, num_queries=rows * columns, **settings)
    (linear,) = connector.readout
    linear.weight.data = torch.eye(WIDTH)
    return connector


def seen(connector: CAbstractor, features: Tensor, grid: tuple[int, int], cell: int) -> list[int]:
    """The tokens that a change of one patch reaches."""
    changed = features.clone()
    changed[:, cell] += 1
    before, after = (connector(Patches(features=f, grid=grid))[0] for f in (features, changed))
    return (before != after).any(dim=-1).nonzero().flatten().tolist()


def test_without_blocks_a_token_is_the_mean_of_its_patches() -> None:
    features = torch.randn(1, 4 * 6, WIDTH)
    tokens = pooling_only((4, 6), (2, 3))(Patches(features=features, grid=(4, 6)))
    maps = features.reshape(4, 6, WIDTH)
    means = [maps[r : r + 2, c : c + 2].mean((0, 1)) for r in (0, 2) for c in (0, 2, 4)]
    torch.testing.assert_close(tokens[0], torch.stack(means))


def test_where_the_grids_do_not_divide_windows_overlap() -> None:
    connector, features = pooling_only((1, 5), (1, 3)), torch.randn(1, 5, WIDTH)
    tokens = connector(Patches(features=features, grid=(1, 5)))[0]
    cells = features[0]
    windows = [cells[0:2].mean(0), cells[1:4].mean(0), cells[3:5].mean(0)]
    torch.testing.assert_close(tokens, torch.stack(windows))


def test_there_may_be_more_tokens_than_patches() -> None:
    features = torch.randn(1, 4, WIDTH)
    tokens = pooling_only((2, 2), (4, 4))(Patches(features=features, grid=(2, 2)))
    numbers = [0, 0, 1, 1, 0, 0, 1, 1, 2, 2, 3, 3, 2, 2, 3, 3]
    torch.testing.assert_close(tokens[0], features[0, numbers])


def test_blocks_see_their_neighbours() -> None:
    settings = {"num_queries": 16, "positions": False}
    features = torch.randn(1, 16, WIDTH)
    blind = built((4, 4), depth=0, **settings)
    assert seen(blind, features, (4, 4), cell=5) == [5]
    blocks = built((4, 4), depth=1, **settings)
    for stage in (blocks.stage_1, blocks.stage_2):
        # The gate reads the whole map; with it shut out, only the convolution looks sideways.
        stage.block_1.excite.weight.data.zero_()
    assert seen(blocks, features, (4, 4), cell=0) == [0, 1, 2, 4, 5, 6, 8, 9, 10]


def test_the_gate_sees_the_whole_map() -> None:
    connector = built((5, 5), num_queries=25, depth=1)
    assert seen(connector, torch.randn(1, 25, WIDTH), (5, 5), cell=0) == list(range(25))


def test_the_patches_of_the_caller_stay_as_they_were() -> None:
    features = torch.randn(2, 16, WIDTH)
    kept = features.clone()
    built((4, 4), num_queries=4)(Patches(features=features, grid=(4, 4)))
    assert torch.equal(features, kept)


def test_another_grid_than_that_of_training_is_taken() -> None:
    connector = built((4, 4), num_queries=4)
    tokens = connector(Patches(features=torch.randn(1, 15, WIDTH), grid=(3, 5)))
    assert tokens.shape == (1, 4, WIDTH)
    with pytest.raises(RuntimeError, match="must match"):
        connector(Patches(features=torch.randn(1, 16, WIDTH + 1), grid=(4, 4)))
