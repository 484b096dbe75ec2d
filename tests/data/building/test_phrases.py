"""Noun phrases: found by closed classes of words, with exact offsets."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.data.building.phrases import MAX_WORDS, ClosedClassPhrases, Span
from isthmus.microworld.scene import scenes
from isthmus.microworld.tasks.caption import caption_text
from isthmus.microworld.words import noun_phrase

PHRASES = ClosedClassPhrases()


def named(caption: str) -> list[str]:
    return [span.of(caption) for span in PHRASES.spans(caption)]


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("A man riding a wave on top of a surfboard.", ["A man", "a wave", "a surfboard"]),
        ("Two dogs, a cat and 3 birds", ["Two dogs", "a cat", "3 birds"]),
        ("the woman's old brown bag is near her", ["the woman's old brown bag"]),
        ("the woman\u2019s bag", ["the woman\u2019s bag"]),
        ("people riding bikes past a parked car", ["people", "bikes", "a parked car"]),
        ("a running man", ["a running man"]),
        ("a bird perched on a branch", ["a bird", "a branch"]),
        ("a brightly colored bird", ["a brightly colored bird"]),
        ("a girl a dog", ["a girl", "a dog"]),
        ("all the three cats", ["all the three cats"]),
        ("an orange beside an orange cat; it is orange", ["an orange", "an orange cat"]),
        ("a tall building, a bed and a butterfly", ["a tall building", "a bed", "a butterfly"]),
        ("a photo of a couple of t-shirts in the background", ["t-shirts"]),
        ("it's a man who isn't there", ["a man"]),
        ("the red one, standing tall", []),
        ("", []),
        (" ... [", []),
        # What it cannot do, as it says.
        ("a dog barks", ["a dog barks"]),
        ("a street parking meter", ["a street", "meter"]),
    ],
)
def test_phrases_of_a_caption(caption: str, expected: list[str]) -> None:
    assert named(caption) == expected


def test_a_long_run_of_keywords_is_no_phrase() -> None:
    words = [f"word{n}" for n in range(MAX_WORDS)]
    assert named(" ".join(words)) == [" ".join(words)]
    assert named(" ".join([*words, "more", "shoes"])) == []


def test_every_thing_of_the_microworld_is_a_phrase_of_its_caption() -> None:
    for scene, _ in scenes("train", 100):
        expected = sorted(noun_phrase(thing) for thing in scene.things)
        signs = ["sign", scene.sign.text] if scene.sign and scene.sign.text.isalpha() else []
        signs = ["sign"] if scene.sign and not signs else signs
        assert sorted(named(caption_text(scene))) == sorted(expected + signs)


WORDS = ("a", "the", "two", "red", "dog", "dogs", "on", "riding", "parked", "it's", "orange", "top")


@settings(max_examples=60, deadline=None)
@given(st.one_of(st.text(), st.lists(st.sampled_from([*WORDS, ",", "-"])).map(" ".join)))
def test_phrases_lie_in_the_caption_in_order_and_apart(caption: str) -> None:
    spans = PHRASES.spans(caption)
    edges = [edge for span in spans for edge in (span.start, span.end)]
    assert edges == sorted(edges)
    assert all(0 <= span.start < span.end <= len(caption) for span in spans)
    assert all(span.of(caption) == span.of(caption).strip() for span in spans)


def test_the_identity_follows_the_words(monkeypatch: pytest.MonkeyPatch) -> None:
    before = PHRASES.identity
    assert PHRASES.identity == before
    monkeypatch.setattr("isthmus.data.building.vocabulary.STOPS", frozenset({"upon"}))
    assert PHRASES.identity != before


def test_a_span_is_cut_from_the_caption() -> None:
    assert Span(2, 5).of("a cat.") == "cat"
