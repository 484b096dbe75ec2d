"""Is there one: half yes, half no, and a no is one changed attribute away from a real thing."""

from random import Random

from isthmus.microworld.scene import COLOURS, HELD_OUT, SHAPES, SIZES, Scene
from isthmus.microworld.tasks.question import Question
from isthmus.microworld.words import matches

_ASKED = (("shape",), ("colour",), ("colour", "shape"), ("size", "colour"), ("size", "shape"))
_VALUES = {"shape": SHAPES, "colour": COLOURS, "size": SIZES}
_TRIES = 6


def existence(scene: Scene, rng: Random) -> Question | None:
    """Is there a red circle? -> yes (adversarial, as in POPE: its parts are in the picture)."""
    thing = rng.choice(scene.things)
    asked = rng.choice(_ASKED)
    wanted = {name: getattr(thing, name) for name in asked}
    answer = "yes"
    if rng.random() < 0.5:
        answer = "no"
        for _ in range(_TRIES):
            name = rng.choice(asked)
            changed = {**wanted, name: rng.choice(_VALUES[name])}
            held_out = (changed.get("shape"), changed.get("colour")) in HELD_OUT
            if not held_out and not matches(scene, changed):
                wanted = changed
                break
        else:
            return None
    words = [wanted[name] for name in ("size", "colour") if name in wanted]
    phrase = " ".join([*words, wanted.get("shape", "shape")])
    article = "an" if phrase[0] in "aeiou" else "a"
    return Question(f"Is there {article} {phrase}?", answer)
