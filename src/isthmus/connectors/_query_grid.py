"""The grid on which the tokens of an abstractor lie."""

from math import isqrt


def query_grid(kind: str, num_queries: int, grid: tuple[int, int] | None = None) -> tuple[int, int]:
    """Returns the rows and columns of `num_queries` tokens: those given, or else a square.

    Args:
        kind: the connector, which an error names.
        num_queries: tokens in all.
        grid: their rows and columns; None for a square.

    Raises:
        ValueError: the tokens do not fill the grid, or no square.
    """
    rows, columns = grid or (isqrt(max(num_queries, 0)),) * 2
    if min(rows, columns) >= 1 and rows * columns == num_queries:
        return rows, columns
    if grid is None:
        raise ValueError(
            f"{kind}.num_queries is {num_queries}; expected the square of 1 or more, or a "
            "query_grid (rows, columns)"
        )
    raise ValueError(
        f"{kind}.query_grid is {rows} x {columns}; expected as many cells as num_queries, "
        f"which is {num_queries}"
    )
