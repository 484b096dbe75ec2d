"""An open video clip: its frames by number, decoded no further than needed.

A clip is what a person sees of it: frame i is the picture on the screen when the i-th of its times
has come. So an edit list may cut off its ends, and a codec may keep pictures that it never shows.
"""

from bisect import bisect_right
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, final

from PIL import Image
from PIL.Image import Transpose

from isthmus.data.faults import Fault
from isthmus.data.video_file import INDEXED, TIMED, kind_of, open_video, readable, timeline

if TYPE_CHECKING:
    from av import VideoFrame

_TURN = {90: Transpose.ROTATE_90, 180: Transpose.ROTATE_180, 270: Transpose.ROTATE_270}
"""What turns a frame upright, by the degrees counterclockwise that the camera wrote."""


@final
class Clip:
    """An open clip, for one thread at a time."""

    _frames: "Iterator[tuple[int, VideoFrame]]"
    """What is decoded next, each with its tick."""
    _shown: "tuple[int, VideoFrame] | None"
    """What is on the screen."""
    _following: "tuple[int, VideoFrame] | None"
    """What is decoded already, and not yet due."""

    def __init__(self, source: Path | BytesIO):
        """Opens a clip and finds the times of its frames, by reading it once.

        Args:
            source: path of a file, or its content.

        Raises:
            Fault: it is no video, is damaged, or has too many frames or pixels.
            ModuleNotFoundError: PyAV is not installed.
        """
        self._source = source
        self._name = f"the clip {source}" if isinstance(source, Path) else "the clip"
        self.timeline = timeline(source, self._name)
        self._container, self._stream = open_video(source, self._name)
        kind = kind_of(self._container)
        self._is_timed, self._can_enter = kind in TIMED, kind in INDEXED
        self._begin()

    def frame(self, index: int) -> Image.Image:
        """Returns a frame in RGB, turned upright, its transparency dropped.

        The next frames are cheap. An earlier one, or one behind a later key frame, is reached from
        its key frame where that gives the very same picture, and from the beginning elsewhere.

        Raises:
            Fault: the clip has no such frame, or is damaged.
        """
        num_frames = len(self.timeline.ticks)
        if not 0 <= index < num_frames:
            raise Fault(
                "video_damaged",
                f"{self._name} has {num_frames} frames, and frame {index} was asked for; if the "
                "file was changed, choose its frames again",
            )
        with readable(self._name):
            self._approach(self.timeline.ticks[index])
            frame = self._decoded_to(index)
            image = frame.to_image()
            turn = _TURN.get(frame.rotation % 360)
        return image if turn is None else image.transpose(turn)

    def close(self) -> None:
        """Closes the file."""
        self._frames = iter(())
        self._container.close()

    def _begin(self) -> None:
        """Decodes from where the file is read next."""
        self._frames = self._decoded()
        self._shown = None
        self._following = None

    def _decoded(self) -> "Iterator[tuple[int, VideoFrame]]":
        """Yields each decoded frame with its tick."""
        ticks = self.timeline.ticks
        for number, frame in enumerate(self._container.decode(self._stream)):
            tick = frame.pts if self._is_timed else ticks[min(number, len(ticks) - 1)]
            if tick is None:
                raise Fault("video_damaged", f"{self._name} has a frame without a time")
            yield tick, frame

    def _approach(self, tick: int) -> None:
        """Stands where decoding reaches a tick soonest: here, at a key frame, or at the start."""
        at = self._shown[0] if self._shown else None
        keys = self.timeline.keys[: bisect_right(self.timeline.keys, tick)]
        if self._can_enter and len(keys) > 1 and (at is None or not keys[-1] <= at <= tick):
            self._can_enter = self._entered(keys[-1], tick)
            if self._can_enter:
                return
        elif at is None or at <= tick:
            return
        self.close()
        self._container, self._stream = open_video(self._source, self._name)
        self._begin()

    def _entered(self, key: int, tick: int) -> bool:
        """Returns whether decoding from a key frame begins with a whole frame, and in time.

        It does not where each frame mends a part of the picture.
        """
        self._container.seek(key, stream=self._stream)
        self._begin()
        self._shown = next(self._frames, None)
        return self._shown is not None and self._shown[1].key_frame and self._shown[0] <= tick

    def _decoded_to(self, index: int) -> "VideoFrame":
        """Decodes until a frame is on the screen, and returns it."""
        ticks = self.timeline.ticks
        while self._shown is None or self._shown[0] < ticks[index]:
            following = self._following or next(self._frames, None)
            if following is None:
                # Two fields may have counted as two frames; where more is missing, it is lost.
                if self._shown is None or self._shown[0] < ticks[max(index - 1, 0)]:
                    raise Fault("video_damaged", f"{self._name} ends before its frame {index}")
                break
            if self._shown is not None and following[0] > ticks[index]:
                self._following = following
                break
            self._shown, self._following = following, None
        frame = self._shown[1]
        if frame.is_corrupt:
            raise Fault("video_damaged", f"frame {index} of {self._name} is damaged")
        return frame
