"""Words to boxes and boxes to words."""

from random import Random

from isthmus.microworld.scene import Scene
from isthmus.microworld.tasks.caption import in_reading_order
from isthmus.microworld.tasks.question import Question
from isthmus.microworld.words import box_text, noun_phrase, refer


def referring(scene: Scene, rng: Random) -> Question | None:
    """Give the box of the red circle. -> [[12,30,41,59]]."""
    thing = rng.choice(scene.things)
    phrase = refer(scene, thing, rng)
    if phrase is None:
        return None
    return Question(f"Give the box of the {phrase}.", box_text(thing.box), boxes=(thing.box,))


def region(scene: Scene, rng: Random) -> Question | None:
    """What is in [[12,30,41,59]]? -> small red striped circle."""
    thing = rng.choice(scene.things)
    return Question(f"What is in {box_text(thing.box)}?", noun_phrase(thing))


def grounded_caption(scene: Scene, rng: Random) -> Question | None:
    """Describe the picture with boxes. -> small red striped circle [[12,30,41,59]]; ..."""
    things = in_reading_order(scene)
    answer = "; ".join(f"{noun_phrase(thing)} {box_text(thing.box)}" for thing in things)
    boxes = tuple(thing.box for thing in things)
    return Question("Describe the picture with boxes.", f"{answer}.", boxes=boxes)


def grounded_vqa(scene: Scene, rng: Random) -> Question | None:
    """What colour is the shape in [[12,30,41,59]]? -> red."""
    thing = rng.choice(scene.things)
    kind = rng.choice(("colour", "fill"))  # the box itself would tell the size
    text = f"What {kind} is the shape in {box_text(thing.box)}?"
    return Question(text, getattr(thing, kind))
