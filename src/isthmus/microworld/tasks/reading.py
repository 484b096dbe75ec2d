"""Reading the sign."""

from random import Random

from isthmus.microworld.scene import Scene
from isthmus.microworld.tasks.question import Question


def reading(scene: Scene, rng: Random) -> Question | None:
    """What does the sign say? -> cat."""
    if scene.sign is None:
        return None
    text = rng.choice(("What does the sign say?", "Read the sign."))
    return Question(text, scene.sign.text)
