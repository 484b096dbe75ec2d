"""Video files: what can be wrong with one, and when its frames appear."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, final

from isthmus.data.faults import Fault, Reason

if TYPE_CHECKING:  # an extra, imported when a file is opened
    from av.container import InputContainer
    from av.video.stream import VideoStream

MAX_FRAMES = 108_000
"""Most frames of a clip: an hour, at 30 a second. Some clips have to be decoded from their
beginning for every sample."""
MAX_PIXELS = 7680 * 4320
"""Most pixels of a frame: 8K."""

CONTAINERS = ("mov", "matroska", "avi", "mpegts", "mpeg", "flv", "asf", "ogg", "gif")
"""What is read, whatever a file is called; `mov` is MP4 too, and `matroska` WebM. Libav knows more,
among them lists of other files, which it opens wherever they lie."""
INDEXED = ("mov", "matroska")
"""Those in which a key frame is found again by its time."""
TIMED = (*INDEXED, "mpegts")
"""Those in which a decoded frame knows its time; in the others its number is all that is sure."""


@contextmanager
def readable(name: str, reason: Reason = "video_damaged") -> Iterator[None]:
    """Turns whatever libav raises on a damaged file into one error.

    Args:
        name: what the error calls the file.
        reason: kind of the fault.

    Raises:
        Fault: the file cannot be read.
    """
    try:
        yield
    except Fault:
        raise
    except Exception as error:  # a decoder fed with noise raises anything
        remedy = "fetch it again, or convert it to MP4"
        raise Fault(reason, f"{name} cannot be read as a video: {error}; {remedy}") from error


def open_video(source: Path | BytesIO, name: str) -> "tuple[InputContainer, VideoStream]":
    """Opens a file and finds the first of its video streams; a cover picture is none.

    The stream lives no longer than its container is open.

    Args:
        source: path of the file, or its content.
        name: what errors call it.

    Raises:
        Fault: it is no video, or its frames have too many pixels.
        ModuleNotFoundError: PyAV is not installed.
    """
    try:
        import av
        from av.stream import Disposition
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "reading video needs PyAV; install it with `pip install 'isthmus[video]'`"
        ) from error
    # The scheme keeps a name with a colon in it from being taken for an address.
    file = f"file:{source}" if isinstance(source, Path) else BytesIO(source.getvalue())
    options = {"format_whitelist": ",".join(CONTAINERS), "protocol_whitelist": "file"}
    with readable(name, "not_a_video"):
        container = av.open(file, "r", options=options, metadata_errors="replace")
    try:
        with readable(name, "not_a_video"):
            streams = [
                stream
                for stream in container.streams.video
                if stream.codec_context and not stream.disposition & Disposition.attached_pic
            ]
            if not streams:
                raise Fault("not_a_video", f"{name} shows nothing that could be decoded")
            stream = streams[0]
            if stream.width * stream.height > MAX_PIXELS:
                raise Fault(
                    "image_too_large",
                    f"{name} is {stream.width} x {stream.height} pixels; expected {MAX_PIXELS} at "
                    "most, scale it down",
                )
            stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
            stream.codec_context.thread_count = 1  # samples are made side by side already
    except Fault:
        container.close()
        raise
    return container, stream


def kind_of(container: "InputContainer") -> str:
    """Returns which of `CONTAINERS` it is."""
    return container.format.name.split(",")[0]


@final
@dataclass(frozen=True, kw_only=True)
class Timeline:
    """When the frames of a clip appear, by its own clock."""

    ticks: tuple[int, ...]
    """Ascending, one for each frame."""
    end: int
    """When the last frame is gone."""
    keys: tuple[int, ...]
    """Ascending; at these frames decoding can begin."""
    tick: Fraction
    """Units: seconds."""

    @property
    def times(self) -> tuple[float, ...]:
        """When each frame appears, the first at 0. Units: seconds."""
        return tuple(float((each - self.ticks[0]) * self.tick) for each in self.ticks)

    @property
    def duration(self) -> float:
        """Units: seconds."""
        return float((self.end - self.ticks[0]) * self.tick)


def timeline(source: Path | BytesIO, name: str) -> Timeline:
    """Reads a file to its end, without decoding it.

    The number of frames that a file tells is not used: WebM has none, and MP4 counts those that its
    edit list hides. Where a file ends early it is damaged, if anything in it says so; a WebM that
    was cut between two blocks is a shorter clip.

    Args:
        source: path of the file, or its content.
        name: what errors call it.

    Raises:
        Fault: it is no video, is damaged, has no frame, or has too many.
        ModuleNotFoundError: PyAV is not installed.
    """
    container, stream = open_video(source, name)
    try:
        with readable(name):
            return _timeline(container, stream, name)
    finally:
        container.close()


def _timeline(container: "InputContainer", stream: "VideoStream", name: str) -> Timeline:
    appear: list[tuple[int, int]] = []  # when, and for how long
    keys: list[int] = []
    num_packets = tick = 0
    for packet in container.demux(stream):
        if packet.size == 0:
            continue  # what tells a decoder that the end has come, or that nothing changes
        if packet.is_corrupt:
            raise Fault("video_damaged", f"{name} is cut off or damaged; fetch it again")
        num_packets += 1
        tick = next((each for each in (packet.pts, packet.dts) if each is not None), tick)
        if packet.is_keyframe:
            keys.append(tick)
        if not packet.is_discard:
            appear.append((tick, packet.duration or 0))
        if len(appear) > MAX_FRAMES:
            raise Fault(
                "video_too_long", f"{name} has more than {MAX_FRAMES} frames; cut it into pieces"
            )
    kind = kind_of(container)
    if not appear or (kind in INDEXED and num_packets < len(stream.index_entries)):
        raise Fault(
            "video_damaged", f"{name} ends after {num_packets} frames, too early; fetch it again"
        )
    appear.sort()
    ticks = [tick for tick, _ in appear]
    if kind in TIMED:
        ticks = list(dict.fromkeys(ticks))  # two fields of one frame
    tick_seconds = stream.time_base or Fraction(1, 1000)
    mean = (ticks[-1] - ticks[0]) // max(len(ticks) - 1, 1)
    usual = round(1 / ((stream.average_rate or 1) * tick_seconds))
    return Timeline(
        ticks=tuple(ticks),
        end=ticks[-1] + (appear[-1][1] or mean or usual or 1),
        keys=tuple(sorted(keys)),
        tick=tick_seconds,
    )
