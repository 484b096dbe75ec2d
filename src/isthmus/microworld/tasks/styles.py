"""Two ways to answer, in a word or in a sentence, as the words around the question ask for it."""

from dataclasses import replace
from random import Random

from isthmus.microworld.scene import Scene
from isthmus.microworld.tasks.attributes import colour, shape
from isthmus.microworld.tasks.comparison import comparison
from isthmus.microworld.tasks.counting import count
from isthmus.microworld.tasks.existence import existence
from isthmus.microworld.tasks.question import Question
from isthmus.microworld.tasks.space import position, relation

SENTENCE = "The answer is {}."
_ASKED = (colour, shape, count, existence, relation, comparison, position)


def short_answer(scene: Scene, rng: Random) -> Question | None:
    """What colour is the star? -> red."""
    question = rng.choice(_ASKED)(scene, rng)
    return question and replace(question, style="short")


def chat_answer(scene: Scene, rng: Random) -> Question | None:
    """What colour is the star? -> The answer is red."""
    question = rng.choice(_ASKED)(scene, rng)
    return question and replace(question, answer=SENTENCE.format(question.answer), style="chat")
