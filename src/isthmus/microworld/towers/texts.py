"""What the microworld's BERT reads: captions, phrases of things, and questions with answers."""

from random import Random

from isthmus.microworld.scene import ATTRIBUTES, Split, draw_scene
from isthmus.microworld.tasks import VQA, questions
from isthmus.microworld.tasks.caption import caption_text
from isthmus.microworld.towers.regions import phrase, some
from isthmus.microworld.words import scene_text, square_text

KINDS = ("caption", "phrase", "question")

Text = str | tuple[str, str]
"""One text, or one and the one that follows it."""


def draw_text(kind: str, split: Split, rng: Random) -> Text:
    """Draws a scene and says of it what the kind says.

    A caption; a phrase of one thing; or the scene told with squares, then a question about it with
    its answer, most of which can be told from the scene.
    """
    while True:
        scene = draw_scene(split, rng)
        if kind == "caption":
            return caption_text(scene)
        if kind == "phrase":
            thing = rng.choice(scene.things)
            traits = {name: getattr(thing, name) for name in ATTRIBUTES}
            return phrase(thing, some(traits | {"square": square_text(thing)}, rng))
        for _, question in questions(scene, rng, (*VQA, "reading", "board"), 1):
            return scene_text(scene, rng), f"{question.text} {question.answer}"
