"""How many, under a condition."""

from collections import Counter
from random import Random

from isthmus.microworld.scene import COLOURS, FILLS, HELD_OUT, SHAPES, SIZES, Scene
from isthmus.microworld.tasks.question import Question


def count(scene: Scene, rng: Random) -> Question | None:
    """How many red shapes are there? -> 2.

    The number is drawn first, evenly among those that some condition gives, so that the answer
    cannot be guessed from the question alone.
    """
    conditions = Counter({"shape": len(scene.things)})
    for word in (*COLOURS, *FILLS, *SIZES):
        conditions[f"{word} shape"] = 0
    for word in SHAPES:
        conditions[word] = 0
    zero_shape, zero_colour = rng.choice(SHAPES), rng.choice(COLOURS)
    if (zero_shape, zero_colour) not in HELD_OUT:
        conditions[f"{zero_colour} {zero_shape}"] = 0
    for thing in scene.things:
        pair = f"{thing.colour} {thing.shape}"
        for word in (f"{thing.colour} shape", f"{thing.fill} shape", f"{thing.size} shape"):
            conditions[word] += 1
        conditions[thing.shape] += 1
        conditions[pair] += 1
    number = rng.choice(sorted(set(conditions.values())))
    condition = rng.choice([word for word, n in conditions.items() if n == number])
    text = rng.choice(("How many {}s are there?", "Count the {}s.")).format(condition)
    return Question(text.replace("crosss", "crosses"), str(number))
