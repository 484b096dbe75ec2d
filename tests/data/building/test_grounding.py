"""Grounded captions: which boxes and phrases stay, why the others do not, and the text."""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.data.building.detector import Detection
from isthmus.data.building.grounding import GroundedCaption, Limits, ground_caption
from isthmus.data.building.phrases import ClosedClassPhrases, Span
from isthmus.data.faults import Fault
from isthmus.geometry.boxes import iou, parse_boxes, without_boxes

SIZE = (200, 100)
CAPTION = "a red car near two dogs."
CAR, DOGS = Span(0, 9), Span(15, 23)
LEFT, RIGHT = (10.0, 10.0, 60.0, 60.0), (110.0, 10.0, 160.0, 60.0)


def ground(
    *found: tuple[Span, Sequence[Detection]], caption: str = CAPTION, limits: Limits | None = None
) -> GroundedCaption:
    spans, detections = [span for span, _ in found], [some for _, some in found]
    return ground_caption(caption, spans, detections, size=SIZE, limits=limits)


def test_boxes_follow_their_phrases_in_the_text() -> None:
    grounded = ground(
        (DOGS, [Detection(RIGHT, 0.9), Detection(LEFT, 0.7)]), (CAR, [Detection(LEFT, 0.8)])
    )
    assert grounded.text == (
        "a red car [[050,100,300,600]] near two dogs [[050,100,300,600;550,100,800,600]]."
    )
    assert [phrase.span for phrase in grounded.phrases] == [CAR, DOGS]
    assert grounded.phrases[1].boxes == (LEFT, RIGHT)
    assert grounded.phrases[1].scores == (0.7, 0.9)
    assert grounded.boxes == (LEFT, RIGHT)  # one place with two names is one box
    assert set(grounded.dropped_boxes.values()) == {0}


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (Detection((10, 10, 5, 60), 0.9), "malformed"),
        (Detection((10, 10, float("nan"), 60), 0.9), "malformed"),
        (Detection((10, 10, 10, 60), 0.9), "malformed"),
        (Detection(RIGHT, float("inf")), "malformed"),
        (Detection(RIGHT, float("nan")), "malformed"),
        (Detection(RIGHT, 0.649), "low_score"),
        (Detection((200, 0, 300, 50), 0.9), "outside"),
        (Detection((-9, -9, 0, 5), 0.9), "outside"),
        (Detection((150, 50, 151, 51.9), 0.9), "tiny"),
        (Detection((198.5, 50, 250, 51), 0.9), "tiny"),  # measured when it is cut
        (Detection((10, 10, 60, 50), 0.7), "repeated"),
    ],
)
def test_a_bad_box_is_counted_under_its_reason(bad: Detection, reason: str) -> None:
    for found in ([bad, Detection(LEFT, 0.8)], [Detection(LEFT, 0.8), bad]):
        grounded = ground((CAR, found))
        assert grounded.phrases[0].boxes == (LEFT,)
        assert {r: n for r, n in grounded.dropped_boxes.items() if n} == {reason: 1}


def test_limits_are_included() -> None:
    kept = [Detection(RIGHT, 0.65), Detection((0, 0, 2, 1), 0.7)]
    assert ground((CAR, kept)).boxes == ((0, 0, 2, 1), RIGHT)
    half = Detection((10, 10, 60, 35), 0.7)  # exactly half of LEFT
    assert len(ground((CAR, [Detection(LEFT, 0.8), half])).boxes) == 2
    strict = Limits(most_overlap=0.49)
    assert ground((CAR, [half, Detection(LEFT, 0.8)]), limits=strict).boxes == (LEFT,)


def test_boxes_are_cut_at_the_edges_of_the_picture() -> None:
    grounded = ground((CAR, [Detection((-20, 50, 300, 130), 0.9)]))
    assert grounded.boxes == ((0, 50, 200, 100),)
    assert grounded.text == "a red car [[000,500,999,999]] near two dogs."


def test_the_longest_phrase_that_has_a_box_is_kept() -> None:
    noun, article = Span(6, 9), Span(0, 5)
    sure, unsure = [Detection(LEFT, 0.9)], [Detection(LEFT, 0.1)]
    both = ground((noun, sure), (CAR, sure), (article, sure))
    assert [phrase.span for phrase in both.phrases] == [CAR]
    assert both.dropped_phrases == {"no_box": 0, "overlaps": 2}
    assert both.dropped_boxes["phrase_overlaps"] == 2
    inner = ground((noun, sure), (CAR, unsure))
    assert [phrase.span for phrase in inner.phrases] == [noun]
    assert inner.dropped_phrases == {"no_box": 1, "overlaps": 0}
    first = ground((Span(2, 7), sure), (Span(4, 9), sure), (Span(0, 5), sure))
    assert [phrase.span for phrase in first.phrases] == [Span(0, 5)]
    touching = ground((Span(0, 5), sure), (Span(5, 9), sure))
    assert len(touching.phrases) == 2


def test_a_caption_without_boxes_is_left_as_it_is() -> None:
    assert ground().text == ground((CAR, [])).text == CAPTION


@pytest.mark.parametrize("caption", ["a car [[1,2,3,4]]", "the cup final [2019]", "[[broken"])
def test_a_caption_that_reads_as_boxes_is_a_fault(caption: str) -> None:
    with pytest.raises(Fault, match="holds brackets that read as a box"):
        ground(caption=caption)


def test_what_does_not_fit_together_is_refused() -> None:
    with pytest.raises(ValueError, match="answered 1 of 2 phrases"):
        ground_caption(CAPTION, [CAR, DOGS], [[]], size=SIZE)
    with pytest.raises(ValueError, match="leave the caption of 24 characters"):
        ground((Span(20, 25), []))
    with pytest.raises(ValueError, match=r"limits\.most_overlap is 2; expected a share"):
        Limits(most_overlap=2)


edges = st.integers(-20, 220).map(float)
boxes = st.tuples(edges, edges, edges, edges)
detections = st.lists(st.builds(Detection, boxes, st.floats(0, 1)), max_size=8)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_every_box_and_phrase_is_accounted_for_and_the_text_reads_back(data: st.DataObject) -> None:
    spans = ClosedClassPhrases().spans(CAPTION)
    spans += data.draw(st.lists(st.sampled_from([Span(2, 9), Span(6, 14), Span(19, 23)])))
    found = [data.draw(detections) for _ in spans]
    grounded = ground(*zip(spans, found, strict=True))
    kept = [phrase.boxes for phrase in grounded.phrases]
    assert sum(map(len, kept)) + sum(grounded.dropped_boxes.values()) == sum(map(len, found))
    assert len(kept) + sum(grounded.dropped_phrases.values()) == len(spans)
    for boxes in kept:
        assert all(0 <= x0 < x1 <= 200 and 0 <= y0 < y1 <= 100 for x0, y0, x1, y1 in boxes)
        assert all(iou(a, b) <= 0.5 for n, a in enumerate(boxes) for b in boxes[:n])
    assert without_boxes(grounded.text) == CAPTION
    read = parse_boxes(grounded.text, SIZE, digits=3)
    assert read.unread == ()
    for true, written in zip((box for group in kept for box in group), read.boxes, strict=True):
        assert all(abs(a - b) <= 0.2 for a, b in zip(true, written, strict=True))
