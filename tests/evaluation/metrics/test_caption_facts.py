import pytest

from isthmus.evaluation.metrics.caption_facts import caption_facts, facts

TRUTH = 'small red solid circle; large blue striped star; sign "cat".'


def test_facts_are_the_parts_between_semicolons_without_boxes() -> None:
    found = facts('Red ball [[01,02,03,04]]; red ball; sign "7".')
    assert found == {"red ball": 2, 'sign "7': 1}


@pytest.mark.parametrize(
    ("caption", "score"),
    [
        (TRUTH, 1.0),
        ('sign "cat"; large blue striped star; small red solid circle', 1.0),
        ("small red solid circle", 2 / 4),
        ("small red striped circle; large blue striped star", 2 / 5),
        (TRUTH.replace(".", "; small red solid circle."), 2 * 3 / 7),
        ("", 0.0),
    ],
)
def test_the_score_is_the_f1_of_whole_facts(caption: str, score: float) -> None:
    assert caption_facts(caption, TRUTH) == pytest.approx(score)
