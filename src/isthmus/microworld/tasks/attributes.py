"""Which colour, which shape: the named thing is told by its other attributes."""

from random import Random

from isthmus.microworld.scene import Scene
from isthmus.microworld.tasks.question import Question
from isthmus.microworld.words import refer


def colour(scene: Scene, rng: Random) -> Question | None:
    """What colour is the small star? -> red."""
    thing = rng.choice(scene.things)
    phrase = refer(scene, thing, rng, ("size", "fill", "shape"))
    if phrase is None:
        return None
    text = rng.choice(("What colour is the {}?", "Which colour does the {} have?")).format(phrase)
    return Question(text, thing.colour)


def shape(scene: Scene, rng: Random) -> Question | None:
    """What shape is the red striped shape? -> star."""
    thing = rng.choice(scene.things)
    phrase = refer(scene, thing, rng, ("size", "colour", "fill"))
    if phrase is None:
        return None
    text = rng.choice(("What is the {}?", "What kind of shape is the {}?")).format(phrase)
    return Question(text, thing.shape)
