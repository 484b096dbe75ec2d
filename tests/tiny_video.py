"""Tiny clips, encoded here: plain frames whose grey level tells which one it is."""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from io import BytesIO

import av
import numpy as np
from PIL import Image

WIDTH, HEIGHT = 64, 48
NUM_FRAMES = 36
FPS = 12

CODECS: dict[str, tuple[str, str, Mapping[str, str]]] = {
    "mp4": ("mp4", "libx264", {"g": "12", "bf": "3"}),
    "vp8.webm": ("webm", "libvpx", {"g": "12", "auto-alt-ref": "1", "lag-in-frames": "16"}),
    "vp9.webm": ("webm", "libvpx-vp9", {"g": "12"}),
    "avi": ("avi", "libx264", {"g": "12", "bf": "3"}),
    "mpeg4.avi": ("avi", "mpeg4", {"g": "12", "bf": "2"}),
    "ts": ("mpegts", "libx264", {"g": "12", "bf": "3"}),
    "mpg": ("mpeg", "mpeg2video", {"g": "12", "bf": "2"}),
    "flv": ("flv", "libx264", {"g": "12", "bf": "2"}),
    "wmv": ("asf", "wmv2", {}),
    "gif": ("gif", "gif", {}),
    # Every frame mends a part of the picture, so none can be entered at.
    "refresh.mkv": ("matroska", "libx264", {"x264-params": "intra-refresh=1:keyint=12"}),
    # Frames before a key frame need the one before it.
    "open.mp4": (
        "mp4",
        "libx264",
        {"bf": "3", "x264-params": "open-gop=1:keyint=12:min-keyint=12:scenecut=0"},
    ),
}
"""Container, codec and options, by a name that a file may have."""


def level(index: int) -> int:
    """The grey of a frame."""
    return 16 + 6 * index


def index_of(frame: Image.Image) -> int:
    """Which frame it is."""
    return round((float(np.asarray(frame).mean()) - 16) / 6)


def clip(
    name: str = "mp4",
    *,
    num_frames: int = NUM_FRAMES,
    rate: int | None = None,
    milliseconds: Sequence[int] | None = None,
    first: int = 0,
    rotation: int = 0,
    pictures: Sequence[np.ndarray] | None = None,
    options: Mapping[str, str] | None = None,
) -> bytes:
    """Encodes a clip.

    Args:
        name: which of `CODECS`.
        num_frames: frames in it.
        rate: frames of a second.
        milliseconds: when each frame appears, where they last differently long.
        first: number of the first frame; what is below 0 is hidden by an edit list.
        rotation: degrees counterclockwise by which a player turns the frames.
        pictures: instead of the grey frames.
        options: of the container.
    """
    container, codec, codec_options = CODECS[name]
    rate = rate or (25 if container == "mpeg" else FPS)
    out = BytesIO()
    with av.open(out, "w", format=container, options=dict(options or {})) as file:
        stream = file.add_stream(codec, rate=rate, options=dict(codec_options))
        stream.width, stream.height = WIDTH, HEIGHT
        stream.bit_rate = 4_000_000  # no grey may be taken for another
        stream.pix_fmt = "rgb8" if codec == "gif" else "yuv420p"
        if milliseconds:
            stream.codec_context.time_base = Fraction(1, 1000)
        if rotation:
            stream.set_display_rotation(rotation)
        for index in range(num_frames):
            grey = np.full((HEIGHT, WIDTH, 3), level(index), np.uint8)
            picture = pictures[index] if pictures is not None else grey
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.time_base = Fraction(1, 1000 if milliseconds else rate)
            frame.pts = first + (milliseconds[index] if milliseconds else index)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return out.getvalue()
