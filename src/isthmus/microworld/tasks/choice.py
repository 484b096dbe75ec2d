"""Multiple choice: a colour or shape question with four lettered options."""

from random import Random

from isthmus.microworld.scene import COLOURS, SHAPES, Scene
from isthmus.microworld.tasks.attributes import colour, shape
from isthmus.microworld.tasks.question import Question

LETTERS = ("A", "B", "C", "D")


def multiple_choice(scene: Scene, rng: Random) -> Question | None:
    """What colour is the circle? A red, B blue, C pink, D cyan. -> B."""
    base, values = (colour, COLOURS) if rng.random() < 0.5 else (shape, SHAPES)
    open_question = base(scene, rng)
    if open_question is None:
        return None
    wrong = rng.sample([value for value in values if value != open_question.answer], 3)
    options = [open_question.answer, *wrong]
    rng.shuffle(options)
    listed = ", ".join(f"{a} {b}" for a, b in zip(LETTERS, options, strict=True))
    letter = LETTERS[options.index(open_question.answer)]
    return Question(f"{open_question.text} {listed}.", letter, choices=LETTERS)
