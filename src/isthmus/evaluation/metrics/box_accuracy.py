"""Box accuracy: do the written boxes lie where the true ones do."""

from collections.abc import Sequence

from isthmus.evaluation.metrics._pairing import most_pairs
from isthmus.geometry.boxes import Box, iou


def box_accuracy(predicted: Sequence[Box], truth: Sequence[Box], threshold: float = 0.5) -> float:
    """Returns the share of boxes that find a partner with an IoU of at least `threshold`.

    Predicted and true boxes are paired one to one so that the most pairs reach the threshold; the
    number of such pairs is divided by the longer of the two lists, so that a missing and a surplus
    box both cost. With one true and one predicted box this is accuracy at IoU 0.5 as referring
    suites report it; an answer without a readable box is wrong and stays in the denominator.

    Raises:
        ValueError: there is no true box to find.
    """
    if not truth:
        raise ValueError(
            "no true box; expected at least one in every sample that is scored by boxes"
        )
    if not predicted:
        return 0.0
    hits = most_pairs(predicted, truth, lambda a, b: iou(a, b) >= threshold)
    return hits / max(len(predicted), len(truth))
