"""One view of a picture: which pixels a vision tower is shown, and where a box lies among them.

A view is made in three steps, each given in whole pixels: a region of the picture is laid on a
canvas, the canvas is resized, and what lies inside the view's own rectangle is kept. Where the
canvas or the view is larger than what lies on it, padding shows. Boxes follow the same numbers, so
that a rounded edge moves picture and box alike.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, final, get_args

from isthmus.geometry.boxes import Box, check_box, intersection, rescale

Size = tuple[int, int]
"""Width and height. Units: pixels."""

Frame = Literal["picture", "view"]
"""What the coordinates of a box are shares of: the picture as it is stored, or what a view shows of
it. LLaVA and Shikra write boxes in the frame of the padded square, which is the view of a
letterbox; data sets and most other models mean the picture."""


@final
@dataclass(frozen=True, kw_only=True)
class View:
    """How one view is made from a picture."""

    picture: Size
    """The picture, turned upright."""
    region: tuple[int, int, int, int]
    """Pixels of the picture that are taken: left, top, right, bottom."""
    canvas: Size
    """What the region is laid on before it is resized; as large as the region, or larger."""
    region_at: tuple[int, int] = (0, 0)
    """Where the region's upper left corner lies on the canvas: x, y."""
    resized: Size
    """What the canvas is resized to."""
    resized_at: tuple[int, int] = (0, 0)
    """Where the upper left corner of the resized canvas lies in the view: x, y. Below 0, what
    juts out is cut away; above 0, padding shows."""
    size: Size
    """The view."""

    @property
    def x_scale(self) -> float:
        """Pixels of the view per pixel of the picture, from left to right."""
        return self.resized[0] / self.canvas[0]

    @property
    def y_scale(self) -> float:
        """Pixels of the view per pixel of the picture, from top to bottom."""
        return self.resized[1] / self.canvas[1]

    @property
    def x_offset(self) -> float:
        """Where the left edge of the picture lies, in pixels of the view."""
        return self.resized_at[0] + (self.region_at[0] - self.region[0]) * self.x_scale

    @property
    def y_offset(self) -> float:
        """Where the upper edge of the picture lies, in pixels of the view."""
        return self.resized_at[1] + (self.region_at[1] - self.region[1]) * self.y_scale

    @property
    def visible(self) -> Box:
        """The part of the picture that the view shows. Units: pixels of the picture."""
        left, top, right, bottom = self.from_view((0.0, 0.0, *self.size))
        return (
            max(left, self.region[0]),
            max(top, self.region[1]),
            min(right, self.region[2]),
            min(bottom, self.region[3]),
        )

    def to_view(self, box: Sequence[float]) -> Box | None:
        """Returns the visible part of a box of the picture; None where nothing of it is visible.

        Units: pixels of the picture in, pixels of the view out.

        Raises:
            ValueError: the box has no area.
        """
        check_box(box)
        taken = intersection(box, self.region)
        if taken is None:
            return None
        x0, y0, x1, y1 = taken
        mapped = (
            x0 * self.x_scale + self.x_offset,
            y0 * self.y_scale + self.y_offset,
            x1 * self.x_scale + self.x_offset,
            y1 * self.y_scale + self.y_offset,
        )
        return intersection(mapped, (0.0, 0.0, *self.size))

    def from_view(self, box: Sequence[float]) -> Box:
        """Returns a box of the view in the picture; it may reach beyond, since padding can be seen.

        Units: pixels of the view in, pixels of the picture out.
        """
        x0, y0, x1, y1 = box
        return (
            (x0 - self.x_offset) / self.x_scale,
            (y0 - self.y_offset) / self.y_scale,
            (x1 - self.x_offset) / self.x_scale,
            (y1 - self.y_offset) / self.y_scale,
        )

    def to_shares(self, box: Sequence[float], frame: Frame) -> Box | None:
        """Returns a box of the picture as shares of a frame's width and height.

        In the frame of the view only the visible part of the box is left, None where there is
        none; in that of the picture the box is whole, seen or not.

        Units: pixels of the picture in, shares from 0 to 1 out.

        Raises:
            ValueError: the box has no area, or there is no such frame.
        """
        if _is_view(frame):
            mapped = self.to_view(box)
            return None if mapped is None else rescale(mapped, self.size)
        check_box(box)
        return rescale(box, self.picture)

    def from_shares(self, box: Sequence[float], frame: Frame) -> Box:
        """Returns a box given in shares of a frame's width and height in pixels of the picture.

        Raises:
            ValueError: there is no such frame.
        """
        if _is_view(frame):
            return self.from_view(rescale(box, (1.0, 1.0), self.size))
        return rescale(box, (1.0, 1.0), self.picture)


def _is_view(frame: str) -> bool:
    if frame not in get_args(Frame):
        raise ValueError(
            f"there is no frame {frame!r}; expected one of {', '.join(get_args(Frame))}"
        )
    return frame == "view"
