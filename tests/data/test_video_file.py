"""What is wrong with a video file is one kind of error, and no file leads to another."""

import builtins
from contextlib import suppress
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.stream import Disposition
from hypothesis import example, given, settings
from hypothesis import strategies as st

from isthmus.data import video_file
from isthmus.data.faults import Fault
from isthmus.data.video import clip_info, read_frames
from tests.tiny_video import HEIGHT, NUM_FRAMES, WIDTH, clip, index_of

encoded = cache(clip)

HEADER_FIRST = {"moov_size": "4000"}
"""An MP4 that can be played while it is fetched, so that one cut off begins well."""


def reason_of(content: bytes | Path, indices: Any = (0,)) -> str:
    source = BytesIO(content) if isinstance(content, bytes) else content
    with pytest.raises(Fault) as caught:
        read_frames(source, indices)
    return caught.value.reason


def test_each_damage_has_its_name(tmp_path: Path) -> None:
    whole = clip(options=HEADER_FIRST)
    middle = whole.index(b"mdat") + (len(whole) - whole.index(b"mdat")) // 2
    assert reason_of(b"") == "not_a_video"
    assert reason_of(b"<html>404</html>") == "not_a_video"
    assert reason_of(tmp_path) == "not_a_video"
    assert reason_of(tmp_path / "absent.mp4") == "not_a_video"
    assert reason_of(whole[: whole.index(b"mdat")]) in ("not_a_video", "video_damaged")
    assert reason_of(whole[:middle]) == "video_damaged"
    assert reason_of(whole[:middle] + bytes(len(whole) - middle), [35]) == "video_damaged"
    assert reason_of(whole, [NUM_FRAMES]) == "video_damaged"
    assert reason_of(whole, [-1]) == "video_damaged"


def test_every_end_that_an_mp4_is_cut_at_is_seen() -> None:
    whole = clip(options=HEADER_FIRST)
    for end in range(whole.index(b"mdat") + 4, len(whole), 7):
        with pytest.raises(Fault):
            clip_info(BytesIO(whole[:end]))


@pytest.mark.parametrize("has_cover", [False, True])
def test_sound_is_no_video_even_with_a_cover(has_cover: bool) -> None:
    out = BytesIO()
    with av.open(out, "w", format="mp4") as file:
        sound = file.add_stream("aac", rate=16_000)
        cover = file.add_stream("mjpeg", rate=1) if has_cover else None
        if cover:
            cover.disposition = Disposition.attached_pic
            cover.width, cover.height, cover.pix_fmt = WIDTH, HEIGHT, "yuvj420p"
            file.mux(cover.encode(av.VideoFrame(WIDTH, HEIGHT, "yuvj420p")))
            file.mux(cover.encode())
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate = 16_000
        file.mux(sound.encode(frame))
        file.mux(sound.encode())
    with pytest.raises(Fault, match="shows nothing that could be decoded") as caught:
        clip_info(BytesIO(out.getvalue()))
    assert caught.value.reason == "not_a_video"


def test_a_list_of_other_files_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret.mp4").write_bytes(encoded())
    listed = tmp_path / "a.mp4"
    listed.write_text("ffconcat version 1.0\nfile secret.mp4\n")
    with av.open(str(listed)) as followed:
        assert followed.format.name == "concat"
    assert reason_of(listed) == "not_a_video"


def test_a_picture_is_no_clip_whatever_it_is_called(tmp_path: Path) -> None:
    read_frames(BytesIO(encoded()), [0])[0].save(tmp_path / "a.mp4", format="PNG")
    assert reason_of(tmp_path / "a.mp4") == "not_a_video"


@pytest.mark.parametrize("name", ["http:a.mp4", "concat:a|b.mp4", "a %d\u00e9?#.mp4"])
def test_a_name_is_a_name_and_no_address(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).write_bytes(encoded())
    assert index_of(read_frames(Path(name), [35])[0]) == 35


def test_too_many_frames_or_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video_file, "MAX_FRAMES", NUM_FRAMES)
    monkeypatch.setattr(video_file, "MAX_PIXELS", WIDTH * HEIGHT)
    assert len(read_frames(BytesIO(encoded()), [35])) == 1
    monkeypatch.setattr(video_file, "MAX_FRAMES", NUM_FRAMES - 1)
    assert reason_of(encoded()) == "video_too_long"
    monkeypatch.setattr(video_file, "MAX_PIXELS", WIDTH * HEIGHT - 1)
    with pytest.raises(Fault, match="64 x 48 pixels; expected 3071 at most") as caught:
        clip_info(BytesIO(encoded()))
    assert caught.value.reason == "image_too_large"


def test_without_the_extra_its_name_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """And a clip is not taken for a broken one."""
    original = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name == "av" or name.startswith("av."):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return original(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'isthmus\[video\]'"):
        clip_info(BytesIO(b"anything"))


def attempt(content: bytes) -> None:
    """Reads all of a clip; it works, or is one kind of error."""
    with suppress(Fault):
        info = clip_info(BytesIO(content))
        assert info.num_frames >= 1
        assert len(read_frames(BytesIO(content), range(info.num_frames))) == info.num_frames


SMALL = {name: clip(name, num_frames=14) for name in ("mp4", "vp8.webm", "avi", "ts", "gif")}


@given(content=st.binary(max_size=400))
@example(content=b"RIFF\xff\xff\xff\xffAVI LIST")
@settings(max_examples=60, deadline=None)
def test_noise_is_a_fault(content: bytes) -> None:
    attempt(content)


@given(name=st.sampled_from(sorted(SMALL)), share=st.floats(0, 1))
@settings(max_examples=60, deadline=None)
def test_a_clip_cut_anywhere_works_or_is_a_fault(name: str, share: float) -> None:
    attempt(SMALL[name][: int(share * len(SMALL[name]))])


@given(
    name=st.sampled_from(sorted(SMALL)),
    flips=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 255)), max_size=8),
)
@settings(max_examples=40, deadline=None)
def test_a_clip_with_wrong_bytes_works_or_is_a_fault(
    name: str, flips: list[tuple[float, int]]
) -> None:
    content = bytearray(SMALL[name])
    for place, bits in flips:
        content[int(place * len(content))] ^= bits
    attempt(bytes(content))


def test_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    for content in SMALL.values():
        for share in (0.5, 1):
            attempt(content[: int(share * len(content))])
        attempt(content[: len(content) // 2] + bytes(50) + content[len(content) // 2 :])
    assert capfd.readouterr() == ("", "")
