"""Caption facts: which of the things a picture holds does a caption name, each wholly right."""

from collections import Counter

from isthmus.evaluation.metrics.exact_match import normalise
from isthmus.geometry.boxes import without_boxes

VARIANT = "F1 of the facts between semicolons, each compared as an exact match"


def facts(caption: str) -> Counter[str]:
    """Returns the facts of a caption with their number: its parts between semicolons.

    Boxes are taken out first, then each part is normalised as for exact match. So "small red
    striped circle" is one fact, and one wrong word in it makes it another fact.
    """
    parts = (normalise(part) for part in without_boxes(caption).split(";"))
    return Counter(part for part in parts if part)


def caption_facts(prediction: str, target: str) -> float:
    """Returns the F1 score of the predicted facts against the true ones.

    Facts are counted (two equal things are two facts) and their order does not matter. Twice the
    number of shared facts, divided by the number of facts on both sides: naming half of the things
    rightly and nothing else gives 2/3, as does naming all of them and as many again wrongly.
    """
    found, true = facts(prediction), facts(target)
    total = found.total() + true.total()
    return 2 * (found & true).total() / total if total else 0.0
