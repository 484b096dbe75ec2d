"""The frame that is read is the one that was asked for, and it is reached the short way."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from io import BytesIO
from pathlib import Path
from random import Random
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.data import clip as clip_module
from isthmus.data.faults import Fault
from isthmus.data.frame_times import clamped_fps_by_time
from isthmus.data.video import (
    clip_info,
    frame_path,
    parse_frame_path,
    read_frame,
    read_frames,
)
from tests.tiny_video import CODECS, FPS, HEIGHT, NUM_FRAMES, WIDTH, clip, index_of

encoded = cache(clip)


def shown(source: Path | BytesIO, indices: Any) -> list[int]:
    frames = read_frames(source, indices)
    assert all(frame.mode == "RGB" for frame in frames)
    return [index_of(frame) for frame in frames]


@pytest.mark.parametrize("name", CODECS)
def test_every_frame_of_every_container_in_any_order(name: str, tmp_path: Path) -> None:
    path = tmp_path / "clip"
    path.write_bytes(encoded(name))
    everything = list(range(NUM_FRAMES))
    assert clip_info(path).num_frames == NUM_FRAMES
    assert shown(path, everything) == everything
    in_order = [np.asarray(frame) for frame in read_frames(path, everything)]
    for index in Random(0).sample(everything, NUM_FRAMES):
        assert np.array_equal(np.asarray(read_frame(path, index)), in_order[index])


@pytest.mark.parametrize("name", ["mp4", "vp8.webm", "vp9.webm", "avi", "gif"])
def test_what_a_clip_is(name: str) -> None:
    info = clip_info(BytesIO(encoded(name)))
    assert (info.num_frames, info.width, info.height) == (NUM_FRAMES, WIDTH, HEIGHT)
    assert info.fps == pytest.approx(FPS)
    assert info.duration == pytest.approx(NUM_FRAMES / FPS)
    expected = [index / FPS for index in range(NUM_FRAMES)]
    assert info.times == pytest.approx(expected, abs=0.01)  # a GIF counts hundredths


def test_a_number_that_the_container_lacks_or_gets_wrong_is_not_believed() -> None:
    """WebM tells none; MP4 tells those too that its edit list hides."""
    assert told(encoded("vp9.webm")) == 0
    cut = encoded(first=-6)
    assert told(cut) == NUM_FRAMES
    assert clip_info(BytesIO(cut)).num_frames == NUM_FRAMES - 6
    assert shown(BytesIO(cut), [0, 29, 12, 0]) == [6, 35, 18, 6]


def told(content: bytes) -> int:
    with av.open(BytesIO(content)) as container:
        return container.streams.video[0].frames


def test_frames_are_given_as_asked_and_decoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[int] = []
    frame = clip_module.Clip.frame
    monkeypatch.setattr(
        clip_module.Clip, "frame", lambda self, i: decoded.append(i) or frame(self, i)
    )
    assert shown(BytesIO(encoded()), [7, 3, 3, 30, 7, 7]) == [7, 3, 3, 30, 7, 7]
    assert decoded == [3, 7, 30]
    assert read_frames(BytesIO(encoded()), []) == []


def test_times_of_a_clip_whose_frames_last_differently_long() -> None:
    milliseconds = [0, 100, 150, 900, 1000, 2000]
    info = clip_info(BytesIO(clip(num_frames=6, milliseconds=milliseconds)))
    assert info.times == pytest.approx([each / 1000 for each in milliseconds], abs=1e-3)
    assert info.fps == pytest.approx(6 / info.duration)
    chosen = clamped_fps_by_time(info.times, 3.0, per_second=2, least=1, most=8)
    assert chosen == [0, 2, 4, 4, 5, 5]


def test_a_clip_of_one_frame_is_a_clip() -> None:
    for name in ("mp4", "vp9.webm", "gif"):
        info = clip_info(BytesIO(clip(name, num_frames=1)))
        assert info.num_frames == 1
        assert info.times == (0.0,)
        assert info.duration > 0
        assert shown(BytesIO(clip(name, num_frames=1)), [0, 0]) == [0, 0]


@pytest.mark.parametrize(
    ("rotation", "edge"),
    [(90, np.s_[:, :8]), (180, np.s_[-8:]), (-90, np.s_[:, -8:]), (0, np.s_[:8])],
)
def test_a_clip_on_its_side_is_turned(rotation: int, edge: Any) -> None:
    """The degrees are counterclockwise, so the bright top comes to lie on the left."""
    lying = np.zeros((3, HEIGHT, WIDTH, 3), np.uint8)
    lying[:, :8] = 255
    source = BytesIO(clip(num_frames=3, rotation=rotation, pictures=list(lying)))
    upright = np.asarray(read_frames(source, [1])[0]).astype(int)
    info = clip_info(source)
    assert upright.shape == (info.height, info.width, 3)
    assert (info.width > info.height) == (rotation in (0, 180))
    assert upright[edge].min() > 230
    assert upright.sum() < 1.2 * upright[edge].sum()


def test_transparency_is_dropped() -> None:
    out = BytesIO()
    with av.open(out, "w", format="mov") as file:
        stream = file.add_stream("png", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "rgba"
        picture = np.full((HEIGHT, WIDTH, 4), (10, 200, 30, 0), np.uint8)
        file.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgba")))
        file.mux(stream.encode())
    frame = read_frames(BytesIO(out.getvalue()), [0])[0]
    assert frame.getpixel((5, 5)) == (10, 200, 30)


# What is read from the disk, and how often.


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The ticks of the frames that are decoded."""
    ticks: list[int] = []
    original = clip_module.Clip._decoded

    def counted(self: clip_module.Clip) -> Iterator[Any]:
        for tick, frame in original(self):
            ticks.append(tick)
            yield tick, frame

    monkeypatch.setattr(clip_module.Clip, "_decoded", counted)
    return ticks


def test_the_frames_of_a_clip_one_after_another_are_decoded_once(
    tmp_path: Path, decoded: list[int]
) -> None:
    path = tmp_path / "a.avi"  # which cannot be entered midway
    path.write_bytes(encoded("avi"))
    assert [index_of(read_frame(path, index)) for index in range(0, 36, 5)] == [*range(0, 36, 5)]
    assert len(decoded) == len(set(decoded)) <= NUM_FRAMES


def test_a_far_frame_is_entered_at_its_key_frame(tmp_path: Path, decoded: list[int]) -> None:
    for name in ("mp4", "vp9.webm", "open.mp4"):
        decoded.clear()
        path = tmp_path / name
        path.write_bytes(encoded(name))
        assert index_of(read_frame(path, 26)) == 26
        assert len(decoded) == 3, name  # frames 24 to 26
        assert index_of(read_frame(path, 13)) == 13
        assert len(decoded) == 5, name
        assert index_of(read_frame(path, 25)) == 25
        assert len(decoded) == 7, name


def test_a_clip_without_key_frames_is_not_entered_twice(tmp_path: Path, decoded: list[int]) -> None:
    path = tmp_path / "a.mkv"
    path.write_bytes(encoded("refresh.mkv"))
    for index in (20, 25, 30, 35):
        assert index_of(read_frame(path, index)) == index
    assert len(decoded) <= NUM_FRAMES + 1


def test_a_clip_that_is_written_anew_is_read_anew(tmp_path: Path) -> None:
    """Also within the grain of the clock, and also by a file of the same size."""
    path, long, short = tmp_path / "a.mp4", encoded(), encoded(num_frames=9)
    padding = len(long) - len(short)
    padded = short + padding.to_bytes(4, "big") + b"free" + bytes(padding - 8)
    for number, (content, num_frames) in enumerate([(long, 36), (padded, 9), (long, 36)]):
        path.write_bytes(content)
        os.utime(path, ns=(number, number))
        assert clip_info(path).num_frames == num_frames
    path.write_bytes(short)
    os.utime(path, ns=(2, 2))
    assert clip_info(path).num_frames == 9


def test_few_clips_stay_open(tmp_path: Path) -> None:
    folder = Path("/proc/self/fd")
    if not folder.exists():
        pytest.skip("open files are counted where /proc is")
    before = len(list(folder.iterdir()))
    for number in range(12):
        path = tmp_path / f"{number}.mp4"
        path.write_bytes(encoded())
        read_frame(path, 3)
        path.write_bytes(encoded()[:-500])
        with pytest.raises(Fault):
            read_frame(path, 3)
    assert len(list(folder.iterdir())) <= before + 2


def test_threads_do_not_disturb_one_another(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.mp4" for number in range(3)]
    for path in paths:
        path.write_bytes(encoded())
    asked = [(path, index) for path in paths for index in range(0, NUM_FRAMES, 4)] * 2
    Random(0).shuffle(asked)
    with ThreadPoolExecutor(4) as pool:
        read = list(pool.map(lambda each: index_of(read_frame(*each)), asked))
    assert read == [index for _, index in asked]


# The path of a frame.

names = st.text(
    st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=12
).filter(lambda name: name not in (".", ".."))


@given(parts=st.lists(names, min_size=1, max_size=4), index=st.integers(0, 10**9 - 1))
def test_the_path_of_a_frame_tells_clip_and_number(parts: list[str], index: int) -> None:
    path = Path(*parts)
    assert parse_frame_path(frame_path(path, index)) == (path, index)
    assert parse_frame_path(Path("/", *parts, "frame", str(index))) == (Path("/", *parts), index)


def test_how_the_path_of_a_frame_reads() -> None:
    assert frame_path(Path("clips/a.mp4"), 12) == Path("clips/a.mp4/frame/12")


@pytest.mark.parametrize(
    "path",
    [
        "a.png",
        "frame/12",
        "12",
        "",
        "a.mp4/frame/12.jpg",
        "a.mp4/frame/012",
        "a.mp4/frame/-1",
        "a.mp4/frame/\u0663",
        "a.mp4/frames/12",
        "a.mp4/frame/12/b",
        "a.mp4/frame/1000000000",
    ],
)
def test_other_paths_stand_for_no_frame(path: str) -> None:
    assert parse_frame_path(Path(path)) is None


@pytest.mark.parametrize("index", [-1, 10**9])
def test_a_number_that_no_frame_has_is_refused(index: int) -> None:
    with pytest.raises(ValueError, match="expected a number from 0"):
        frame_path(Path("a.mp4"), index)
