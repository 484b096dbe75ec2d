"""What happens in a clip: where things move, what comes first, how often, and all of it."""

from random import Random

from isthmus.microworld.clips import Clip, Track
from isthmus.microworld.tasks.question import Question
from isthmus.microworld.words import noun_phrase, refer, square


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


def first(clip: Clip, rng: Random) -> Question | None:
    """What comes first, the red circle or the star? -> star.

    Easier to learn than `order`, where what is there from the start is right as often as wrong, and
    only the question tells which.
    """
    return _of_two(clip, rng, "first")


def order(clip: Clip, rng: Random) -> Question | None:
    """What comes last, the red circle or the star? -> red circle."""
    return _of_two(clip, rng, "first", "last")


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


def clip_caption(clip: Clip, rng: Random) -> Question:
    """Tell what happens. -> large red solid star stays; small blue striped circle comes.

    In the order in which the things come; those that come together from left to right.
    """
    tracks = sorted(clip.tracks, key=lambda track: (track.first, square(track.thing)))
    told = (f"{noun_phrase(track.thing)} {_happening(track)}" for track in tracks)
    text = rng.choice(("Tell what happens.", "What happens in the clip?"))
    return Question(text, "; ".join(told) + ".")


def _of_two(clip: Clip, rng: Random, *ways: str) -> Question | None:
    """Returns a question about which of two things comes so; None where both come together."""
    if len(clip.tracks) < 2:
        return None
    pair = rng.sample(clip.tracks, 2)
    named = [(track.first, refer(clip.scene, track.thing, rng)) for track in pair]
    (one, phrase), (other, another) = named
    if phrase is None or another is None or one == other:
        return None
    asked = rng.choice(ways)
    pick = min if asked == "first" else max
    return Question(f"What comes {asked}, the {phrase} or the {another}?", str(pick(named)[1]))


def _happening(track: Track) -> str:
    if track.moves:
        return f"moves {track.moves}"
    if all(track.visible):
        return "stays"
    if track.visits == 1 and track.visible[-1]:
        return "comes"
    return f"comes {track.visits} time{'s' * (track.visits > 1)}"
