"""Exact match after a small, fully written down normalisation."""

import unicodedata

VARIANT = "nfkc, casefold, one space, ends stripped of .,;:!?\"'"
"""Named in every result, since scores under different normalisations do not compare."""

_ENDS = " .,;:!?\"'"


def normalise(text: str) -> str:
    """Returns the form in which two answers are compared.

    In this order: Unicode NFKC (a full-width digit becomes a digit), case folded, every run of
    white space one space, then spaces and `.,;:!?"'` taken off both ends, unless nothing else
    would be left. Articles, inner punctuation and number words stay as they are: "a dog" is not
    "dog" and "two" is not "2".
    """
    plain = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    return plain.strip(_ENDS) or plain


def exact_match(prediction: str, target: str) -> float:
    """Returns 1.0 when both texts have the same normal form, else 0.0."""
    return float(normalise(prediction) == normalise(target))
