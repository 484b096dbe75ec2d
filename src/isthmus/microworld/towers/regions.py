"""The things of a batch of pictures as regions, each with a phrase that says some of what it is."""

from dataclasses import dataclass
from random import Random
from typing import final

from isthmus.microworld.scene import ATTRIBUTES, Box, Thing
from isthmus.microworld.towers.pixels import Pictures
from isthmus.microworld.words import noun_phrase, square_text

Traits = dict[str, str]
"""Attributes and square of a thing, or the words of a sign."""


@final
@dataclass(frozen=True, slots=True)
class Region:
    """A thing or sign in one of the pictures."""

    picture: int
    box: Box
    traits: Traits
    """All that is true of it."""
    said: Traits
    """What its phrase tells of it."""
    phrase: str


def regions(batch: Pictures, rng: Random) -> list[Region]:
    """Every thing and sign of a batch, each trait of a thing told with a chance of one half.

    Half-told phrases keep the traits apart: told only whole, a shape is learnt with its colours,
    and is not known in a colour that it never had. Squares keep the place in the patch.
    """
    found = []
    for picture, (scene, nameless) in enumerate(zip(batch.scenes, batch.nameless, strict=True)):
        for thing in scene.things:
            traits = {name: getattr(thing, name) for name in ATTRIBUTES}
            if nameless:
                del traits["colour"]
            traits["square"] = square_text(thing)
            said = some(traits, rng)
            found.append(Region(picture, thing.box, traits, said, phrase(thing, said)))
        if scene.sign:
            traits = {"sign": scene.sign.text}
            words = f'sign "{scene.sign.text}"'
            found.append(Region(picture, scene.sign.box, traits, traits, words))
    return found


def some(traits: Traits, rng: Random) -> Traits:
    """Each of a thing's traits with a chance of one half; its shape when there would be none."""
    said = {name: value for name, value in traits.items() if rng.random() < 0.5}
    return said or {"shape": traits["shape"]}


def phrase(thing: Thing, said: Traits) -> str:
    """Small circle on e4."""
    words = [noun_phrase(thing, tuple(said))]
    if "square" in said:
        words.append(f"on {said['square']}")
    return " ".join(words)


def told(things: list[Region], phrases: list[Region]) -> list[list[bool]]:
    """Whether each phrase is true of each thing, whosever it is."""
    return [[b.said.items() <= a.traits.items() for b in phrases] for a in things]
