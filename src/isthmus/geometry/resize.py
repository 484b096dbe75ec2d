"""How a picture of any size is brought to the size that a vision tower takes, as numbers alone.

============ ======================================================================== ===== ======
strategy     what becomes of the picture                                              whole shape
============ ======================================================================== ===== ======
naive        stretched                                                                yes   warped
crop         resized until it covers the target, then its middle is cut out           no    kept
letterbox    padded on both sides to the target's shape, then resized                 yes   kept
corner_pad   resized until it fits into the target, then padded right and below       yes   kept
tiles        stretched once as a whole; and fitted into a grid of targets, cut apart  yes   kept
============ ======================================================================== ===== ======

A plan needs only the size of a picture. So the number of visual tokens is known without decoding
it, and boxes are mapped by the numbers that the pixels follow.
"""

from dataclasses import dataclass
from typing import Literal, final, get_args

from isthmus.geometry.view import Size, View

ResizeStrategy = Literal["naive", "crop", "letterbox", "corner_pad", "tiles"]
"""Names of the ways to resize."""

_ELONGATED = 8
"""Above this ratio of the long side to the short one, against the target's, a picture is handled
by a shorter way; or else a strip of one pixel by 65,535 would be blown up to gigabytes."""


@final
@dataclass(frozen=True, kw_only=True)
class ResizePlan:
    """The views of one picture."""

    views: tuple[View, ...]
    """All of one size. Of tiles, the whole picture comes first, then the tiles row by row."""
    tile_grid: tuple[int, int] = (0, 0)
    """Rows and columns of tiles behind the first view; 0 x 0 where it is the only one."""


@final
@dataclass(frozen=True, kw_only=True)
class Resize:
    """A strategy and the size it leads to."""

    strategy: ResizeStrategy
    """How pictures are resized."""
    size: Size
    """Width and height of every view. Units: pixels."""
    max_tiles: int | None = None
    """Most tiles of one picture, not counting the view of the whole; for `tiles` alone."""

    def __post_init__(self) -> None:
        """Checks that strategy, size and tiles can be used.

        Raises:
            ValueError: one of them cannot.
        """
        if self.strategy not in get_args(ResizeStrategy):
            names = ", ".join(get_args(ResizeStrategy))
            raise ValueError(
                f"there is no resize strategy {self.strategy!r}; expected one of {names}"
            )
        _check_size(self.size, "the size of a view")
        if self.strategy == "tiles" and (self.max_tiles is None or self.max_tiles < 2):
            raise ValueError(
                f"max_tiles is {self.max_tiles}; expected at least 2, or the strategy 'naive', "
                "which is what a single tile comes to"
            )
        if self.strategy != "tiles" and self.max_tiles is not None:
            raise ValueError(
                f"max_tiles is {self.max_tiles}, which {self.strategy!r} would ignore; leave it "
                "out, or choose the strategy 'tiles'"
            )

    def num_views(self, width: int, height: int) -> int:
        """Returns the number of views of a picture of this size, turned upright.

        Raises:
            ValueError: the picture has no pixels.
        """
        rows, columns = self.tile_grid(width, height)
        return 1 + rows * columns

    def tile_grid(self, width: int, height: int) -> tuple[int, int]:
        """Returns rows and columns of the tiles of a picture, 0 x 0 where it has none.

        Of all grids with at most `max_tiles` tiles, that one is taken in which most pixels of the
        picture survive, and of several such the one with the least padding. A picture for which
        one tile is best gets none: the view of the whole shows all there is.

        Paper: LLaVA-NeXT (LLaVA-1.6), which takes the same choice from a list of five grids;
        InternVL 1.5, arXiv 2404.16821, section 3.3 for grids up to a number of tiles.

        Differs: surviving pixels are counted in whole numbers; the published code multiplies by a
        rounded ratio, and now and then loses a row or a column that fits.

        Raises:
            ValueError: the picture has no pixels.
        """
        _check_size((width, height), "the size of a picture")
        if self.max_tiles is None:
            return (0, 0)

        def fit(grid: tuple[int, int]) -> tuple[int, int]:
            canvas = (grid[1] * self.size[0], grid[0] * self.size[1])
            surviving = _num_surviving((width, height), canvas)
            return surviving, surviving - canvas[0] * canvas[1]

        best = max(_grids(self.max_tiles), key=fit)
        return (0, 0) if best == (1, 1) else best

    def plan(self, width: int, height: int) -> ResizePlan:
        """Returns the views of a picture of this size, turned upright.

        Raises:
            ValueError: the picture has no pixels.
        """
        picture = (width, height)
        _check_size(picture, "the size of a picture")
        match self.strategy:
            case "naive":
                return ResizePlan(views=(_stretched(picture, self.size),))
            case "crop":
                return ResizePlan(views=(_cropped(picture, self.size),))
            case "letterbox":
                return ResizePlan(views=(_letterboxed(picture, self.size),))
            case "corner_pad":
                return ResizePlan(views=(_fitted(picture, self.size, at=(0, 0)),))
            case "tiles":
                grid = self.tile_grid(width, height)
                whole = _stretched(picture, self.size)
                return ResizePlan(views=(whole, *_tiles(picture, self.size, grid)), tile_grid=grid)


def _check_size(size: Size, name: str) -> None:
    if len(size) != 2 or min(size) < 1:
        raise ValueError(f"{name} is {size!r}; expected a width and a height of 1 pixel or more")


def _stretched(picture: Size, size: Size) -> View:
    """Every picture in full, out of shape unless it has that of the view."""
    return View(picture=picture, region=(0, 0, *picture), canvas=picture, resized=size, size=size)


def _cropped(picture: Size, size: Size) -> View:
    """The middle of the picture, resized until its shorter side fills the view (CLIP).

    Odd remainders are halved downwards, as transformers does; torchvision, and with it Prismatic,
    rounds halves to even, which may move the cut by one pixel. Of an elongated picture the ends
    are cut off beforehand: they are far outside the view, and resizing them is all in vain.
    """
    (width, height), (view_width, view_height) = picture, size
    longest_width = -(-_ELONGATED * height * view_width // view_height)
    longest_height = -(-_ELONGATED * width * view_height // view_width)
    left = max(width - longest_width, 0) // 2
    top = max(height - longest_height, 0) // 2
    region = (left, top, width - left, height - top)
    canvas = (width - 2 * left, height - 2 * top)
    if canvas[0] * view_height < canvas[1] * view_width:
        resized = (view_width, canvas[1] * view_width // canvas[0])
    else:
        resized = (canvas[0] * view_height // canvas[1], view_height)
    at = (-((resized[0] - view_width) // 2), -((resized[1] - view_height) // 2))
    return View(
        picture=picture, region=region, canvas=canvas, resized=resized, resized_at=at, size=size
    )


def _letterboxed(picture: Size, size: Size) -> View:
    """The picture in the middle of a canvas of the view's shape, resized together (LLaVA-1.5).

    Of an odd difference the smaller half lies left or above. Differs: Prismatic also takes the
    smaller half right or below, so that its square may lack a row or a column. An elongated picture
    is resized before it is padded: its canvas would be many times its own size.
    """
    (width, height), (view_width, view_height) = picture, size
    if _is_elongated(picture, size):
        fitted = _fit(picture, size)
        return _fitted(picture, size, at=_centred(fitted, size))
    if width * view_height >= height * view_width:
        canvas = (width, -(-width * view_height // view_width))
    else:
        canvas = (-(-height * view_width // view_height), height)
    return View(
        picture=picture,
        region=(0, 0, *picture),
        canvas=canvas,
        region_at=_centred(picture, canvas),
        resized=size,
        size=size,
    )


def _fitted(picture: Size, size: Size, *, at: tuple[int, int], within: Size | None = None) -> View:
    """The picture resized to fit into a rectangle, by default the view, and laid at a place."""
    return View(
        picture=picture,
        region=(0, 0, *picture),
        canvas=picture,
        resized=_fit(picture, within or size),
        resized_at=at,
        size=size,
    )


def _tiles(picture: Size, size: Size, grid: tuple[int, int]) -> tuple[View, ...]:
    """The picture in the middle of a canvas of rows x columns views, cut apart row by row."""
    rows, columns = grid
    canvas = (columns * size[0], rows * size[1])
    left, top = _centred(_fit(picture, canvas), canvas) if rows else (0, 0)
    return tuple(
        _fitted(picture, size, at=(left - column * size[0], top - row * size[1]), within=canvas)
        for row in range(rows)
        for column in range(columns)
    )


def _fit(picture: Size, within: Size) -> Size:
    """Returns the largest size of the picture's shape in a rectangle; a part of a pixel is one."""
    (width, height), (most_width, most_height) = picture, within
    if most_width * height < most_height * width:
        return most_width, -(-height * most_width // width)
    return -(-width * most_height // height), most_height


def _centred(inner: Size, outer: Size) -> tuple[int, int]:
    return (outer[0] - inner[0]) // 2, (outer[1] - inner[1]) // 2


def _is_elongated(picture: Size, size: Size) -> bool:
    wide, tall = picture[0] * size[1], picture[1] * size[0]
    return max(wide, tall) > _ELONGATED * min(wide, tall)


def _grids(max_tiles: int) -> list[tuple[int, int]]:
    """Returns rows and columns of every grid of at most so many tiles."""
    numbers = range(1, max_tiles + 1)
    return [
        (rows, columns) for rows in numbers for columns in numbers if rows * columns <= max_tiles
    ]


def _num_surviving(picture: Size, canvas: Size) -> int:
    """Returns how many pixels of a picture are left when it fits into a canvas."""
    (width, height), (most_width, most_height) = picture, canvas
    if most_width * height < most_height * width:
        resized = most_width * (height * most_width // width)
    else:
        resized = (width * most_height // height) * most_height
    return min(resized, width * height)
