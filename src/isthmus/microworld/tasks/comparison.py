"""Two things held against each other."""

from itertools import permutations
from random import Random

from isthmus.microworld.scene import Scene
from isthmus.microworld.tasks.question import Question
from isthmus.microworld.words import refer


def comparison(scene: Scene, rng: Random) -> Question | None:
    """Which is larger, the circle or the star? / Do they have the same colour?

    Whether they shall be the same is drawn first, so that yes and no come equally often wherever
    the scene has pairs of both kinds.
    """
    kind = rng.choice(("size", "colour", "shape"))
    same = kind != "size" and rng.random() < 0.5
    pairs = [
        pair
        for pair in permutations(scene.things, 2)
        if (getattr(pair[0], kind) == getattr(pair[1], kind)) == same
    ]
    if not pairs or (kind != "size" and len(pairs) == len(scene.things) * (len(scene.things) - 1)):
        return None
    first, second = rng.choice(pairs)
    allowed = tuple(name for name in ("size", "colour", "fill", "shape") if name != kind)
    a, b = refer(scene, first, rng, allowed), refer(scene, second, rng, allowed)
    if a is None or b is None:
        return None
    if kind == "size":
        answer = a if first.size == "large" else b
        return Question(f"Which is larger, the {a} or the {b}?", answer)
    return Question(f"Do the {a} and the {b} have the same {kind}?", "yes" if same else "no")
