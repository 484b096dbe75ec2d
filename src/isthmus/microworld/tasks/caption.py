"""Captions: every thing named once, from left to right, then the sign."""

from random import Random

from isthmus.microworld.scene import Scene, Thing
from isthmus.microworld.tasks.question import Question
from isthmus.microworld.words import noun_phrase, square


def in_reading_order(scene: Scene) -> list[Thing]:
    """The things column by column of the board from the left, and from the top within a column."""
    return sorted(scene.things, key=square)


def caption_text(scene: Scene) -> str:
    """Small red striped circle; large blue solid star; sign "cat"."""
    parts = [noun_phrase(thing) for thing in in_reading_order(scene)]
    if scene.sign:
        parts.append(f'sign "{scene.sign.text}"')
    return "; ".join(parts) + "."


def caption(scene: Scene, rng: Random) -> Question | None:
    """Describe the picture. -> small red striped circle; large blue solid star."""
    text = rng.choice(("Describe the picture.", "What is in the picture?"))
    return Question(text, caption_text(scene))
