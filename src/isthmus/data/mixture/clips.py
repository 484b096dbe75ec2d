"""Clips as the frames that a model is shown of them."""

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from isthmus.data.facts import Item
from isthmus.data.frame_times import (
    both_ends,
    clamped_fps_by_time,
    left_edges,
    midpoints,
)
from isthmus.data.media import stat_of
from isthmus.data.mixture.file import Asking
from isthmus.data.video import ClipInfo, clip_info, frame_path

VIDEO = "video"
"""Key of an item's `meta` that says that its images are clips."""

_RULES = {"left_edges": left_edges, "midpoints": midpoints, "both_ends": both_ends}


def framed(item: Item, asking: Asking) -> Item:
    """Returns an item of which each clip is its frames, in order.

    An image is shown once, or as a still clip of as many frames.

    Paper: PaLM2-VAdapter, arXiv 2402.10896, section 4.1: 8 frames of a clip, and images repeated.

    Args:
        item: whose images are clips, if its `meta` says so.
        asking: how many frames are shown, and which.

    Raises:
        Fault: a clip cannot be read.
    """
    if item.meta.get(VIDEO):
        paths = [
            frame_path(clip, index)
            for clip in item.images
            for index in _chosen(_info(clip, *stat_of(clip)), asking)
        ]
        return replace(item, images=tuple(paths))
    if asking.stills:
        return replace(item, images=tuple(p for p in item.images for _ in range(asking.frames)))
    return item


@lru_cache(4096)
def _info(clip: Path, size: int, mtime_ns: int) -> ClipInfo:
    """Returns what a clip is; that takes reading it to its end, and it is drawn many times."""
    return clip_info(clip)


def _chosen(clip: ClipInfo, asking: Asking) -> list[int]:
    if asking.frames_per_second is not None:
        return clamped_fps_by_time(
            clip.times,
            clip.duration,
            per_second=asking.frames_per_second,
            least=1,
            most=asking.frames,
        )
    return _RULES[asking.frame_rule](clip.num_frames, asking.frames)
