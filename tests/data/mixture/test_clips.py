"""Clips are shown as frames, by a rule; an image may stand still for as many."""

from dataclasses import replace
from pathlib import Path

import pytest

from isthmus.data.facts import Captioned, Item
from isthmus.data.images import opened, upright_size
from isthmus.data.media import digest_of, stat_of
from isthmus.data.mixture import clips
from isthmus.data.mixture.clips import framed
from isthmus.data.mixture.file import Asking
from isthmus.data.video import clip_info, parse_frame_path
from tests.tiny_video import HEIGHT, NUM_FRAMES, WIDTH, clip, index_of


@pytest.fixture
def item(tmp_path: Path) -> Item:
    path = tmp_path / "a.mp4"
    path.write_bytes(clip("mp4"))
    return Item(
        id="a", images=(path,), facts=(Captioned(text="it"),), task="", meta={"video": True}
    )


def indices(item: Item) -> list[int]:
    found = [parse_frame_path(path) for path in item.images]
    assert all(found)
    return [index for _, index in found if index is not None]  # type: ignore[misc]


@pytest.mark.parametrize(
    ("asking", "expected"),
    [
        (Asking(frames=4), [(2 * n + 1) * NUM_FRAMES // 8 for n in range(4)]),
        (Asking(frames=4, frame_rule="left_edges"), [n * NUM_FRAMES // 4 for n in range(4)]),
        (Asking(frames=2, frame_rule="both_ends"), [0, NUM_FRAMES - 1]),
        (Asking(frames=2 * NUM_FRAMES), [n // 2 for n in range(2 * NUM_FRAMES)]),
    ],
)
def test_a_clip_is_its_frames_by_the_rule(item: Item, asking: Asking, expected: list[int]) -> None:
    assert indices(framed(item, asking)) == expected


def test_a_rate_shows_longer_clips_by_more_frames(item: Item) -> None:
    shown = framed(item, Asking(frames=99, frames_per_second=1000.0))
    few = framed(item, Asking(frames=99, frames_per_second=0.001))
    assert len(shown.images) == 99
    assert indices(few) == [0]


def test_a_frame_is_read_wherever_an_image_is(item: Item) -> None:
    frames = framed(item, Asking(frames=NUM_FRAMES, frame_rule="left_edges")).images
    for index, path in enumerate(frames):
        with opened(path, "a frame") as image:
            assert index_of(image) == index
    assert upright_size(frames[0]) == (WIDTH, HEIGHT)
    assert stat_of(frames[0]) == stat_of(item.images[0])
    assert len({digest_of(path) for path in frames}) == NUM_FRAMES
    assert digest_of(frames[3]) == digest_of(frames[3])


def test_images_stand_still_if_asked(item: Item) -> None:
    image = replace(item, meta={}, images=(Path("/a.png"),))
    assert framed(image, Asking(frames=3)) == image
    assert framed(image, Asking(frames=3, stills=True)).images == (Path("/a.png"),) * 3


def test_the_times_of_a_clip_are_read_once_and_again_when_it_changes(
    item: Item, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []
    monkeypatch.setattr(clips, "clip_info", lambda path: read.append(path) or clip_info(path))
    first = framed(item, Asking(frames=2))
    assert framed(item, Asking(frames=2)) == first
    assert len(read) == 1
    item.images[0].write_bytes(clip("mp4", num_frames=6))
    assert indices(framed(item, Asking(frames=2))) == [1, 4]
    assert len(read) == 2
