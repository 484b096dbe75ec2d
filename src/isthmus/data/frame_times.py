"""Which frames of a clip are shown: rules over the number of frames, or over their times.

A rule places the frames that are asked for evenly, and rounds each place to a frame. So it needs no
case for a clip that has fewer frames than asked: frames repeat there, in order, and none is left
out.
"""

from bisect import bisect_right
from collections.abc import Sequence

ROUNDING = 1e-3
"""Seconds by which a frame may come late and still be the one of its moment; WebM rounds times to
milliseconds, and no frame is shown for less."""


def left_edges(num_frames: int, num_asked: int) -> list[int]:
    """Returns the first frame of each of `num_asked` equal stretches: floor(i N / n).

    The first frame of the clip is always shown, the last one never where there are more than asked.

    Args:
        num_frames: frames of the clip, N.
        num_asked: frames to show, n.

    Raises:
        ValueError: either is below 1.
    """
    _check_counts(num_frames, num_asked)
    return [i * num_frames // num_asked for i in range(num_asked)]


def midpoints(num_frames: int, num_asked: int) -> list[int]:
    """Returns the frame in the middle of each of `num_asked` equal stretches: floor((i + 1/2) N/n).

    As far from the first frame as from the last, up to the rounding where a middle lies between
    two frames, of which the later one is shown.

    Args:
        num_frames: frames of the clip, N.
        num_asked: frames to show, n.

    Raises:
        ValueError: either is below 1.
    """
    _check_counts(num_frames, num_asked)
    return [(2 * i + 1) * num_frames // (2 * num_asked) for i in range(num_asked)]


def both_ends(num_frames: int, num_asked: int) -> list[int]:
    """Returns frames from the very first to the very last: i (N - 1) / (n - 1), rounded half up.

    One frame alone is the first.

    Args:
        num_frames: frames of the clip, N.
        num_asked: frames to show, n.

    Raises:
        ValueError: either is below 1.
    """
    _check_counts(num_frames, num_asked)
    steps = max(num_asked - 1, 1)
    return [(2 * i * (num_frames - 1) + steps) // (2 * steps) for i in range(num_asked)]


def num_at_rate(duration: float, *, per_second: float, least: int, most: int) -> int:
    """Returns how many frames show a clip at a rate: duration times rate, rounded half up, clamped.

    Args:
        duration: of the clip. Units: seconds.
        per_second: frames to show of each second.
        least: frames that the shortest clip is shown by.
        most: frames that the longest clip is shown by.

    Raises:
        ValueError: the rate is not positive, or the numbers are not 1 <= least <= most.
    """
    if not per_second > 0:
        raise ValueError(f"per_second is {per_second}; expected more than 0 frames a second")
    if not 1 <= least <= most:
        raise ValueError(f"least is {least} and most {most}; expected 1 <= least <= most")
    return int(min(max(duration * per_second + 0.5, least), most))


def clamped_fps(
    num_frames: int, fps: float, *, per_second: float, least: int, most: int
) -> list[int]:
    """Returns about `per_second` frames of each second of a clip whose frames last equally long.

    They are the `left_edges` of as many stretches as `num_at_rate` says: the first frame is shown,
    and from there one each 1 / per_second, or less or more often where the number is clamped.

    Args:
        num_frames: frames of the clip.
        fps: frames that the clip has in a second.
        per_second: frames to show of each second.
        least: frames to show at least.
        most: frames to show at most.

    Raises:
        ValueError: a number is not positive, or `least` above `most`.
    """
    if not fps > 0:
        raise ValueError(f"fps is {fps}; expected more than 0 frames a second")
    num_asked = num_at_rate(num_frames / fps, per_second=per_second, least=least, most=most)
    return left_edges(num_frames, num_asked)


def clamped_fps_by_time(
    times: Sequence[float], duration: float, *, per_second: float, least: int, most: int
) -> list[int]:
    """Returns the same for a clip whose frames last differently long, by when each is shown.

    Args:
        times: when each frame of the clip appears. Units: seconds.
        duration: of the clip. Units: seconds.
        per_second: frames to show of each second.
        least: frames to show at least.
        most: frames to show at most.

    Raises:
        ValueError: a number is not positive, `least` above `most`, or the clip has no frame.
    """
    num_asked = num_at_rate(duration, per_second=per_second, least=least, most=most)
    return shown_at(times, [i * duration / num_asked for i in range(num_asked)])


def shown_at(times: Sequence[float], moments: Sequence[float]) -> list[int]:
    """Returns the frame that stands on the screen at each moment.

    Before the first frame appears it is the first, after the end the last.

    Args:
        times: when each frame of the clip appears, ascending. Units: seconds.
        moments: when to look. Units: seconds.

    Raises:
        ValueError: the clip has no frame.
    """
    if not times:
        raise ValueError("the clip has no frame; expected the time of one at least")
    return [max(bisect_right(times, moment + ROUNDING) - 1, 0) for moment in moments]


def _check_counts(num_frames: int, num_asked: int) -> None:
    for name, count in (("num_frames", num_frames), ("num_asked", num_asked)):
        if count < 1:
            raise ValueError(f"{name} is {count}; expected 1 frame or more")
