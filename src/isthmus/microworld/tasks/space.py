"""Where things are: on the canvas, and of each other."""

from random import Random

from isthmus.microworld.scene import CANVAS, Scene
from isthmus.microworld.tasks.question import Question
from isthmus.microworld.words import noun_phrase, refer, square_text

_CLEAR = 5
"""Pixels from a middle line within which a thing's side is not asked for."""
_APART = 8
"""Pixels by which two centres differ at least along the axis that is asked about."""


def position(scene: Scene, rng: Random) -> Question | None:
    """In which corner is the circle? -> top left."""
    thing = rng.choice(scene.things)
    x, y = thing.centre
    if abs(x - CANVAS / 2) < _CLEAR or abs(y - CANVAS / 2) < _CLEAR:
        return None
    phrase = refer(scene, thing, rng)
    if phrase is None:
        return None
    answer = f"{'top' if y < CANVAS / 2 else 'bottom'} {'left' if x < CANVAS / 2 else 'right'}"
    text = rng.choice(("In which corner is the {}?", "Where is the {}?")).format(phrase)
    return Question(text, answer)


def board(scene: Scene, rng: Random) -> Question | None:
    """On which square is the star? -> c5; or: What is on c5? -> small red striped star."""
    thing = rng.choice(scene.things)
    place = square_text(thing)
    if rng.random() < 0.5:
        phrase = refer(scene, thing, rng)
        return Question(f"On which square is the {phrase}?", place) if phrase else None
    if sum(square_text(other) == place for other in scene.things) > 1:
        return None
    return Question(f"What is on {place}?", noun_phrase(thing))


def relation(scene: Scene, rng: Random) -> Question | None:
    """Is the circle left or right of the star? -> left; half as yes or no."""
    if len(scene.things) < 2:
        return None
    first, second = rng.sample(scene.things, 2)
    axis = int(rng.random() * 2)
    difference = first.centre[axis] - second.centre[axis]
    if abs(difference) < _APART:
        return None
    a, b = refer(scene, first, rng), refer(scene, second, rng)
    if a is None or b is None:
        return None
    low, high = (("left of", "right of"), ("above", "below"))[axis]
    truth = low if difference < 0 else high
    if rng.random() < 0.5:
        return Question(f"Is the {a} {low} or {high} the {b}?", truth.removesuffix(" of"))
    asked = rng.choice((low, high))
    return Question(f"Is the {a} {asked} the {b}?", "yes" if asked == truth else "no")
