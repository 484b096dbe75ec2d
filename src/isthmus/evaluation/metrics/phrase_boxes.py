"""Phrases with their boxes: what a grounded caption names, and where it says that this is."""

import re
from collections.abc import Sequence

from isthmus.evaluation.metrics._pairing import most_pairs
from isthmus.evaluation.metrics.exact_match import normalise
from isthmus.geometry.boxes import Box, iou, parse_boxes

VARIANT = "F1 of phrases with a box: the same words, IoU >= 0.5, paired one to one"

_GROUP = re.compile(r"\[\[[^\[\]]*\]\]")

PhraseBox = tuple[str, Box]
"""Words, and one box of what they name."""


def phrase_boxes(text: str, size: tuple[float, float], digits: int = 2) -> list[PhraseBox]:
    """Returns each box of a text with the words before it.

    They reach back to the box before, or to the last semicolon or full stop. Of several boxes in
    one pair of brackets, each is one of the phrase.

    Args:
        text: grounded caption.
        size: width and height of the picture. Units: of the boxes.
        digits: of a written coordinate.
    """
    found: list[PhraseBox] = []
    begun = 0
    for group in _GROUP.finditer(text):
        words = re.split(r"[;.]", text[begun : group.start()])[-1]
        boxes = parse_boxes(group.group(), size, digits).boxes
        found += [(normalise(words), box) for box in boxes]
        begun = group.end()
    return found


def phrase_box_f1(
    predicted: Sequence[PhraseBox], truth: Sequence[PhraseBox], threshold: float = 0.5
) -> float:
    """Returns the F1 score of predicted phrases with boxes against the true ones.

    Twice the number of pairs with the same words and an IoU of at least `threshold`, by the number
    on both sides: a phrase at the wrong place and a box with the wrong words both count for
    nothing.
    """
    if not predicted or not truth:
        return 0.0
    hits = most_pairs(predicted, truth, lambda a, b: a[0] == b[0] and iou(a[1], b[1]) >= threshold)
    return 2 * hits / (len(predicted) + len(truth))
