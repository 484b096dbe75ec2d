"""Video clips as images: what a clip is, its frames, and a path for each of them.

Wherever the house has the path of an image file, the path of a frame can stand: that of its clip,
and below it `frame` and the number, as in `clips/a.mp4/frame/12`.
"""

import os
import re
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from threading import local
from typing import final

from PIL import Image

from isthmus.data.clip import Clip
from isthmus.data.faults import Fault

_FOLDER = "frame"
_NUMBER = re.compile(r"0|[1-9][0-9]{0,8}")
_OPEN_CLIPS = 2
"""Clips that each thread keeps open: one is read, and one may be returned to."""


@final
@dataclass(frozen=True, kw_only=True)
class ClipInfo:
    """What a clip is, as a person sees it."""

    num_frames: int
    fps: float
    """Frames of a second, on average."""
    width: int
    height: int
    duration: float
    """Units: seconds."""
    times: tuple[float, ...] = field(repr=False)
    """When each frame appears, the first at 0. Units: seconds."""


def clip_info(source: Path | BytesIO) -> ClipInfo:
    """Reads a clip to its end, and decodes its first frame.

    Args:
        source: path of the clip, or its content.

    Raises:
        Fault: it is no video, is damaged, has no frame, or too many, or too many pixels.
        ModuleNotFoundError: PyAV is not installed.
    """
    with _opened(source) as clip:
        times, duration = clip.timeline.times, clip.timeline.duration
        width, height = clip.frame(0).size
    return ClipInfo(
        num_frames=len(times),
        fps=len(times) / duration,
        width=width,
        height=height,
        duration=duration,
        times=times,
    )


def read_frames(source: Path | BytesIO, indices: Sequence[int]) -> list[Image.Image]:
    """Returns frames of a clip in RGB, upright, in the order asked.

    A frame that is asked for several times is decoded once, and is the same image each time.

    Args:
        source: path of the clip, or its content.
        indices: numbers of the frames, from 0, in any order.

    Raises:
        Fault: the clip cannot be read, or has no such frame.
        ModuleNotFoundError: PyAV is not installed.
    """
    with _opened(source) as clip:
        frames = {index: clip.frame(index) for index in sorted(set(indices))}
    return [frames[index] for index in indices]


def read_frame(clip: Path, index: int) -> Image.Image:
    """Returns one frame of a clip in RGB, upright; see `read_frames`.

    A thread that reads the frames of a clip one after another decodes the clip once.
    """
    return read_frames(clip, [index])[0]


def frame_path(clip: Path, index: int) -> Path:
    """Returns the path that stands for a frame of a clip; no file has it.

    Raises:
        ValueError: the number is negative, or has more than nine digits.
    """
    if not _NUMBER.fullmatch(str(index)):
        raise ValueError(f"the frame {index} of {clip}; expected a number from 0 to 999999999")
    return clip / _FOLDER / str(index)


def parse_frame_path(path: Path) -> tuple[Path, int] | None:
    """Returns the clip and the number of a frame; None where a path stands for no frame."""
    if len(path.parts) < 3 or path.parent.name != _FOLDER or not _NUMBER.fullmatch(path.name):
        return None
    return path.parent.parent, int(path.name)


_Key = tuple[int, Path, int, int]
"""Process, clip, its size and when it was written."""


@final
class _Kept(local):
    """The clips that a thread read last, open; no thread sees those of another."""

    def __init__(self) -> None:
        self.clips: OrderedDict[_Key, Clip] = OrderedDict()


_kept = _Kept()


@contextmanager
def _opened(source: Path | BytesIO) -> Iterator[Clip]:
    """Opens a clip; that of a path stays open until others take its place, or it fails."""
    if isinstance(source, BytesIO):
        clip = Clip(source)
        try:
            yield clip
        finally:
            clip.close()
        return
    try:
        stat = source.stat()
    except (OSError, ValueError) as error:
        raise Fault("not_a_video", f"the clip {source} cannot be read: {error}") from error
    # A forked process has another number, since it shares the place in its parent's open files.
    key = (os.getpid(), source, stat.st_size, stat.st_mtime_ns)
    clip = _kept.clips.pop(key) if key in _kept.clips else Clip(source)
    try:
        yield clip
    except BaseException:
        clip.close()
        raise
    _kept.clips[key] = clip
    if len(_kept.clips) > _OPEN_CLIPS:
        _kept.clips.popitem(last=False)[1].close()
