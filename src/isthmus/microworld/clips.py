"""Clips: a scene in which things move, come and go, before it is drawn frame by frame."""

from dataclasses import dataclass, replace
from random import Random
from typing import Literal, final, get_args

from isthmus.microworld.scene import CANVAS, Box, Scene, Thing

NUM_FRAMES = 8
"""Frames of a clip, as many as PaLM2-VAdapter sees."""
Direction = Literal["left", "right", "up", "down"]
DIRECTIONS: tuple[Direction, ...] = get_args(Direction)
MOST_VISITS = NUM_FRAMES // 2
"""How often a thing comes at most: between two visits it is away for a frame."""

_MAX_THINGS = 3
_TRAVEL = 24
"""Pixels from where a thing that moves begins to where it ends."""
_STEP: dict[Direction, tuple[int, int]] = {
    "left": (-1, 0),
    "right": (1, 0),
    "up": (0, -1),
    "down": (0, 1),
}


@final
@dataclass(frozen=True, slots=True)
class Track:
    """What one thing does in a clip."""

    thing: Thing
    """As it is half way."""
    moves: Direction | None
    """Where to; None stays in its place."""
    visible: tuple[bool, ...]
    """Whether it is there, for each frame."""

    @property
    def first(self) -> int:
        """The frame in which it comes."""
        return self.visible.index(True)

    @property
    def visits(self) -> int:
        """How often it comes."""
        return _num_visits(self.visible)

    def at(self, frame: int) -> Thing | None:
        """Returns the thing as it is in a frame; None when it is away."""
        if not self.visible[frame]:
            return None
        if self.moves is None:
            return self.thing
        x, y = _STEP[self.moves]
        way = round(_TRAVEL * (frame / (NUM_FRAMES - 1) - 0.5))
        return replace(self.thing, box=_shifted(self.thing.box, x * way, y * way))


@final
@dataclass(frozen=True, slots=True)
class Clip:
    """What happens in a scene, frame by frame."""

    scene: Scene
    """All that is in the clip, wherever it is half way; things are told apart by it."""
    tracks: tuple[Track, ...]
    """One for each thing of the scene."""

    def frames(self) -> list[Scene]:
        """Returns the scene of each frame."""
        return [
            replace(self.scene, things=tuple(t for t in told if t is not None))
            for told in zip(
                *([track.at(n) for n in range(NUM_FRAMES)] for track in self.tracks), strict=True
            )
        ]


def animate(scene: Scene, rng: Random) -> Clip:
    """Returns a clip of a scene's first things: each stays, moves, comes late, or comes and goes.

    A thing that moves has its middle where it would stand still, so that no single frame tells
    where to. There is no sign, and no noise that would flicker.

    Args:
        scene: whose split the clip belongs to.
        rng: source of what happens.
    """
    tracks = tuple(_track(thing, rng) for thing in scene.things[:_MAX_THINGS])
    still = Scene(tuple(track.thing for track in tracks), None, scene.tone, 0)
    return Clip(still, tracks)


def _track(thing: Thing, rng: Random) -> Track:
    always = (True,) * NUM_FRAMES
    match rng.choice(("stays", "moves", "comes", "visits")):
        case "moves":
            moves = rng.choice(DIRECTIONS)
            return Track(_with_room(thing, moves), moves, always)
        case "comes":
            late = 1 + int(rng.random() * (NUM_FRAMES - 1))
            return Track(thing, None, tuple(frame >= late for frame in range(NUM_FRAMES)))
        case "visits":
            return Track(thing, None, _visits(1 + int(rng.random() * MOST_VISITS), rng))
        case _:
            return Track(thing, None, always)


def _with_room(thing: Thing, moves: Direction) -> Thing:
    """Returns the thing where it can move without leaving the canvas."""
    x0, y0, x1, y1 = thing.box
    half = _TRAVEL // 2
    x, y = (half if part else 0 for part in _STEP[moves])
    left = min(max(x0, x), CANVAS - (x1 - x0) - x)
    top = min(max(y0, y), CANVAS - (y1 - y0) - y)
    return replace(thing, box=_shifted(thing.box, left - x0, top - y0))


def _visits(num: int, rng: Random) -> tuple[bool, ...]:
    """Returns when a thing is there that comes so often."""
    while True:
        visible = tuple(rng.random() < 0.5 for _ in range(NUM_FRAMES))
        if _num_visits(visible) == num:
            return visible


def _num_visits(visible: tuple[bool, ...]) -> int:
    before = (False, *visible[:-1])
    return sum(now and not was for now, was in zip(visible, before, strict=True))


def _shifted(box: Box, x: int, y: int) -> Box:
    return (box[0] + x, box[1] + y, box[2] + x, box[3] + y)
