import pytest

from isthmus.evaluation.metrics.exact_match import exact_match, normalise


@pytest.mark.parametrize(
    ("prediction", "target"),
    [
        ("Red.", "red"),
        ("  top \n left ", "top left"),
        ('"cat"', "cat"),
        ("\uff12", "2"),
        ("STRASSE", "straße"),
        ("?", "?"),
    ],
)
def test_texts_that_count_as_equal(prediction: str, target: str) -> None:
    assert exact_match(prediction, target) == 1.0


@pytest.mark.parametrize(
    ("prediction", "target"),
    [("a dog", "dog"), ("two", "2"), ("t-shirt", "t shirt"), ("", "red"), ("red red", "red")],
)
def test_texts_that_do_not(prediction: str, target: str) -> None:
    assert exact_match(prediction, target) == 0.0


def test_a_text_of_nothing_but_ends_is_kept() -> None:
    assert normalise(" ?! ") == "?!"
    assert normalise("") == ""
