"""The things of a batch of pictures as regions: whose, where, and in which words."""

from isthmus.microworld.scene import Box
from isthmus.microworld.towers.pixels import Pictures
from isthmus.microworld.words import noun_phrase


def regions(batch: Pictures) -> tuple[list[int], list[Box], list[str]]:
    """Picture index, box and phrase of every thing and sign in the batch."""
    owners, boxes, phrases = [], [], []
    for index, scene in enumerate(batch.scenes):
        for thing in scene.things:
            owners.append(index)
            boxes.append(thing.box)
            phrases.append(noun_phrase(thing))
        if scene.sign:
            owners.append(index)
            boxes.append(scene.sign.box)
            phrases.append(f'sign "{scene.sign.text}"')
    return owners, boxes, phrases
