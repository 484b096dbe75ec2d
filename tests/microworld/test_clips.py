"""What a clip's answers say is what its frames show, read frame by frame."""

import json
import re
from collections import Counter
from functools import cache
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest
from PIL import Image, ImageChops

from isthmus.data import sources
from isthmus.evaluation.benchmarks.microworld import CLIP_TASKS, Microworld
from isthmus.evaluation.requests import Answer
from isthmus.microworld.clips import NUM_FRAMES, Clip, animate
from isthmus.microworld.export import export
from isthmus.microworld.scene import ATTRIBUTES, CANVAS, Thing, scenes
from isthmus.microworld.tasks import CLIPS, Question

NUM = 500
WAYS = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}


@cache
def clips(split: str = "test") -> list[tuple[Clip, tuple]]:
    found = []
    for scene, rng in scenes(split, NUM):  # type: ignore[arg-type]
        found.append((animate(scene, rng), rng.getstate()))
    return found


def asked(task: str, split: str = "test") -> list[tuple[Clip, Question]]:
    rng, found = Random(), []
    for clip, state in clips(split):
        rng.setstate(state)
        question = CLIPS[task](clip, rng)
        if question is not None:
            found.append((clip, question))
    assert len(found) > NUM // 5
    return found


def seen(clip: Clip, phrase: str) -> list[Thing | None]:
    """The one thing that a phrase is true of, in each frame."""
    words = set(re.findall("[a-z]+", phrase))
    everything = {(t.size, t.colour, t.fill, t.shape) for f in clip.frames() for t in f.things}
    traits = {value for thing in everything for value in thing} & words
    (kind,) = [thing for thing in everything if traits <= set(thing)]
    return [next((t for t in f.things if _kind(t) == kind), None) for f in clip.frames()]


def _kind(thing: Thing) -> tuple[str, ...]:
    return tuple(getattr(thing, name) for name in ATTRIBUTES)


def test_a_thing_moves_where_the_answer_says() -> None:
    for clip, question in asked("direction"):
        first, *_, last = [t for t in seen(clip, question.text) if t is not None]
        x, y = (last.centre[axis] - first.centre[axis] for axis in (0, 1))
        assert (x, y) == tuple(24 * axis for axis in WAYS[question.answer])


@pytest.mark.parametrize(("task", "ways"), [("first", {"first"}), ("order", {"first", "last"})])
def test_what_comes_first_is_there_first(task: str, ways: set[str]) -> None:
    met = set()
    for clip, question in asked(task):
        match = re.fullmatch(r"What comes (first|last), the (.+) or the (.+)\?", question.text)
        assert match is not None
        began = {
            phrase: next(n for n, thing in enumerate(seen(clip, phrase)) if thing is not None)
            for phrase in match.groups()[1:]
        }
        one, other = began.values()
        assert one != other
        pick = min if match[1] == "first" else max
        assert question.answer == pick(began, key=lambda phrase: began[phrase])
        met.add(match[1])
    assert met == ways


def test_visits_are_those_that_are_seen() -> None:
    for clip, question in asked("visits"):
        there = "".join("x" if thing else " " for thing in seen(clip, question.text))
        assert question.answer == str(len(there.split()))


def test_a_caption_tells_what_every_thing_does_in_the_order_of_their_coming() -> None:
    for clip, question in asked("clip_caption"):
        began = []
        told = question.answer.removesuffix(".").split("; ")
        assert len(told) == len(clip.tracks)
        for part in told:
            phrase, happening = re.fullmatch(r"(.+) ((?:moves|stays|comes).*)", part).groups()  # type: ignore[union-attr]
            if sum(other.startswith(f"{phrase} ") for other in told) > 1:
                continue  # two alike, which a phrase does not tell apart
            frames = seen(clip, phrase)
            there = [thing for thing in frames if thing is not None]
            began.append(frames.index(there[0]))
            number = len("".join("x" if thing else " " for thing in frames).split())
            match happening.split():
                case ["moves", way]:
                    x, y = (there[-1].centre[axis] - there[0].centre[axis] for axis in (0, 1))
                    assert (x, y) == tuple(24 * axis for axis in WAYS[way])
                case ["stays"]:
                    assert frames == [there[0]] * NUM_FRAMES
                case ["comes"]:
                    assert (number, frames[0], frames[-1]) == (1, None, there[-1])
                case ["comes", times, *_]:
                    assert number == int(times)
                    assert number > 1 or frames[-1] is None
        assert began == sorted(began)


@pytest.mark.parametrize(("task", "least"), [("direction", 0.15), ("visits", 0.1)])
def test_no_answer_is_usual(task: str, least: float) -> None:
    counts = Counter(question.answer for _, question in asked(task))
    assert len(counts) == 4
    assert min(counts.values()) / counts.total() > least
    assert max(counts.values()) / counts.total() < 0.45


def test_no_single_frame_tells_where_a_thing_moves() -> None:
    """Where it is half way does not depend on the direction."""
    middles: dict[str, list[float]] = {}
    for clip, _ in clips():
        for track in clip.tracks:
            if track.moves in ("left", "right"):
                middles.setdefault(track.moves, []).append(track.thing.centre[0])
    left, right = (sum(m) / len(m) for m in middles.values())
    assert abs(left - right) < 3


def test_things_stay_on_the_canvas_and_splits_share_no_pair_of_traits() -> None:
    for split in ("test", "compositional"):
        for clip, _ in clips(split):
            for frame in clip.frames():
                for thing in frame.things:
                    assert min(thing.box) >= 0
                    assert max(thing.box) <= CANVAS
    held_out = {(t.shape, t.colour) for c, _ in clips("compositional") for t in c.scene.things}
    assert not held_out & {(t.shape, t.colour) for c, _ in clips() for t in c.scene.things}


def test_a_clip_on_disk_is_its_frames_in_order(tmp_path: Path) -> None:
    export(tmp_path, split="train", num=20, turns=2, tasks=(*CLIP_TASKS, "colour"))
    rows = [json.loads(line) for line in (tmp_path / "messages.jsonl").read_text().splitlines()]
    shown = Counter(len(row["images"]) for row in rows)
    assert set(shown) == {1, NUM_FRAMES}
    assert shown[NUM_FRAMES] > shown[1]  # three tasks of four
    canonical = list(sources.read(tmp_path / "messages.jsonl", tmp_path))
    assert canonical == list(sources.read(tmp_path / "llava.json", tmp_path))
    # Something happens in each that is asked about.
    for row in (row for row in rows if len(row["images"]) == NUM_FRAMES):
        pictures = [_opened(tmp_path / name) for name in row["images"]]
        assert any(ImageChops.difference(a, b).getbbox() for a, b in pairwise(pictures))


def _opened(path: Path) -> Image.Image:
    with Image.open(path) as file:
        return file.convert("RGB")


def test_other_exports_are_what_they_were(tmp_path: Path) -> None:
    export(tmp_path, split="test", num=30)
    rows = [json.loads(line) for line in (tmp_path / "messages.jsonl").read_text().splitlines()]
    assert not {row["task"] for row in rows} & set(CLIP_TASKS)
    assert max(len(row["images"]) for row in rows) == 1


@pytest.mark.parametrize(
    ("tasks", "metric"),
    [
        (CLIP_TASKS, "clip_accuracy"),
        (("first",), "accuracy_first"),
        (("clip_caption",), "clip_caption_facts"),
    ],
)
def test_clips_have_a_metric_of_their_own(
    tmp_path: Path, tasks: tuple[str, ...], metric: str
) -> None:
    export(tmp_path, split="test", num=12, tasks=tasks)
    benchmark = Microworld(tmp_path / "messages.jsonl", tmp_path)
    told = {
        sample.id: sample.messages[-1].text
        for sample in sources.read(tmp_path / "messages.jsonl", tmp_path)
    }
    answers = {name: Answer(id=name, text=text) for name, text in told.items()}
    scores = benchmark.score(answers).metrics
    assert scores[metric].value == 1
    assert scores[metric].count == 12
    wrong = {name: Answer(id=name, text="never") for name in told}
    assert benchmark.score(wrong).metrics[metric].value == 0


@pytest.mark.parametrize("task", [*CLIP_TASKS, "first"])
def test_a_clip_is_passed_over_only_where_it_cannot_be_asked_about(
    task: str, tmp_path: Path
) -> None:
    export(tmp_path, split="test", num=NUM // 20, turns=1, tasks=(task,))
    lines = (tmp_path / "messages.jsonl").read_text("utf-8").splitlines()
    asked_of = {json.loads(line)["meta"]["scene"] for line in lines}
    for index, (scene, rng) in enumerate(scenes("test", max(asked_of))):
        rng.random()  # which the export draws, where there could be pictures that stand still
        clip = animate(scene, rng)
        possible = any(CLIPS[task](clip, rng) for _ in range(300))
        assert possible == (index in asked_of)
