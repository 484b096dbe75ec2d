"""What happens in a clip: where things move, what comes first, and how often."""

from random import Random

from isthmus.microworld.clips import Clip
from isthmus.microworld.tasks.question import Question
from isthmus.microworld.words import refer


def direction(clip: Clip, rng: Random) -> Question | None:
    """Where does the red circle move? -> left."""
    moving = [track for track in clip.tracks if track.moves]
    if not moving:
        return None
    track = rng.choice(moving)
    phrase = refer(clip.scene, track.thing, rng)
    if phrase is None or track.moves is None:
        return None
    text = rng.choice(("Where does the {} move?", "Which way does the {} go?")).format(phrase)
    return Question(text, track.moves)


def order(clip: Clip, rng: Random) -> Question | None:
    """What comes first, the red circle or the star? -> star."""
    if len(clip.tracks) < 2:
        return None
    pair = rng.sample(clip.tracks, 2)
    named = [(track.first, refer(clip.scene, track.thing, rng)) for track in pair]
    (one, first), (other, second) = named
    if first is None or second is None or one == other:
        return None
    asked = rng.choice(("first", "last"))
    pick = min if asked == "first" else max
    return Question(f"What comes {asked}, the {first} or the {second}?", str(pick(named)[1]))


def visits(clip: Clip, rng: Random) -> Question | None:
    """How often does the star come? -> 3.

    The number is drawn first, evenly among those that there are. Of what comes once and stays, it
    is not asked.
    """
    coming = [track for track in clip.tracks if track.visits > 1 or not track.visible[-1]]
    if not coming:
        return None
    number = rng.choice(sorted({track.visits for track in coming}))
    track = rng.choice([track for track in coming if track.visits == number])
    phrase = refer(clip.scene, track.thing, rng)
    if phrase is None:
        return None
    text = rng.choice(("How often does the {} come?", "Count the visits of the {}."))
    return Question(text.format(phrase), str(number))
