"""A phrase counts with its box, and a box with its phrase."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.evaluation.metrics.phrase_boxes import PhraseBox, phrase_box_f1, phrase_boxes
from isthmus.geometry.boxes import format_box

SIZE = (100.0, 100.0)
TRUTH = [("red ring", (10.0, 10.0, 40.0, 40.0)), ("blue star", (50.0, 50.0, 90.0, 90.0))]


def test_each_box_has_the_words_before_it() -> None:
    text = "Red ring [[10,10,39,39]]; blue star [[50,50,89,89;00,00,09,09]] near it [[x]]. A cat."
    found = phrase_boxes(text, SIZE)
    assert [phrase for phrase, _ in found] == ["red ring", "blue star", "blue star"]
    assert [round(box[0]) for _, box in found] == [10, 50, 0]
    flowing = phrase_boxes("a man [[00,00,49,99]] with a bat [[50,50,59,99]]", SIZE)
    assert [phrase for phrase, _ in flowing] == ["a man", "with a bat"]


@pytest.mark.parametrize(
    ("predicted", "expected"),
    [
        (TRUTH, 1.0),
        (TRUTH[::-1], 1.0),
        (TRUTH[:1], 2 / 3),
        ([*TRUTH, ("green cross", (0.0, 0.0, 9.0, 9.0))], 4 / 5),
        ([("red ring", TRUTH[1][1]), ("blue star", TRUTH[0][1])], 0.0),
        ([("red star", TRUTH[0][1])], 0.0),
        ([TRUTH[0], TRUTH[0]], 1 / 2),
        ([], 0.0),
    ],
)
def test_words_and_place_both_count(predicted: list[PhraseBox], expected: float) -> None:
    assert phrase_box_f1(predicted, TRUTH) == pytest.approx(expected)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["ring", "star", "red ring"]),
            st.tuples(*[st.integers(0, 40)] * 2, *[st.integers(50, 99)] * 2),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_what_is_written_is_read_back(pairs: list[tuple[str, tuple[int, ...]]]) -> None:
    text = "; ".join(f"{phrase} {format_box(box, SIZE)}" for phrase, box in pairs) + "."
    found = phrase_boxes(text, SIZE)
    assert [phrase for phrase, _ in found] == [phrase for phrase, _ in pairs]
    assert phrase_box_f1(found, found) == 1
