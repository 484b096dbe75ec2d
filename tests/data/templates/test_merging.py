"""Everything about a picture in one conversation: nothing is lost, and equal targets take turns."""

from collections import Counter
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.data.facts import Answered, Item
from isthmus.data.templates.merging import Merged, merged


def item(number: int, picture: int, answer: str) -> Item:
    fact = Answered(question=f"{number}?", answer=answer)
    return Item(id=f"{number}", images=(Path(f"/{picture}.png"),), facts=(fact,), task="vqa")


def asked(found: list[Merged], chance: int = 0) -> list[list[str]]:
    drawn = (each.drawn(Random(chance)) for each in found)
    return [[fact.question for fact in it.facts if isinstance(fact, Answered)] for it in drawn]


@given(
    told=st.lists(st.tuples(st.integers(0, 4), st.sampled_from("ab")), max_size=40),
    turns=st.integers(1, 5),
)
def test_without_deduplication_each_fact_is_told_once(
    told: list[tuple[int, str]], turns: int
) -> None:
    items = [item(n, picture, answer) for n, (picture, answer) in enumerate(told)]
    found = merged(items, turns=turns)
    questions = Counter(question for talk in asked(found) for question in talk)
    assert questions == {f"{n}?": 1 for n in range(len(items))}
    for each in found:
        assert 1 <= len(each.groups) <= turns
    ids = [each.drawn(Random(0)).id for each in found]
    assert len(set(ids)) == len(ids)


@given(
    told=st.lists(st.tuples(st.integers(0, 3), st.sampled_from("abc")), max_size=40),
    turns=st.integers(2, 5),
)
def test_with_it_no_target_twice_in_a_conversation_and_no_fact_lost(
    told: list[tuple[int, str]], turns: int
) -> None:
    items = [item(n, picture, answer) for n, (picture, answer) in enumerate(told)]
    found = merged(items, turns=turns, deduplicate="target")
    pictures = Counter(each.first.images for each in found)
    for each in found:
        answers = [f.answer for f in each.drawn(Random(1)).facts if isinstance(f, Answered)]
        assert len(set(answers)) == len(answers)
    held = [fact for each in found for group in each.groups for fact in group]
    assert len(held) == len(items)
    for images, num in pictures.items():
        targets = {answer for (picture, answer) in told if images == (Path(f"/{picture}.png"),)}
        assert num == -(-len(targets) // turns)


def test_members_of_a_group_take_turns() -> None:
    items = [item(0, 0, "yes"), item(1, 0, "yes"), item(2, 0, "no")]
    (only,) = merged(items, turns=10, deduplicate="target")
    drawn = Counter(tuple(talk) for n in range(200) for talk in asked([only], n))
    assert set(drawn) == {("0?", "2?"), ("1?", "2?")}
    assert min(drawn.values()) > 70


def test_normalised_targets_are_equal_but_for_case_and_marks() -> None:
    items = [item(0, 0, "Yes."), item(1, 0, " yes"), item(2, 0, "yes, two")]
    (strict,) = merged(items, turns=9, deduplicate="target")
    (loose,) = merged(items, turns=9, deduplicate="normalised")
    assert (len(strict.groups), len(loose.groups)) == (3, 2)


def test_pictures_and_questions_without_one_stay_apart() -> None:
    blind = [
        Item(id=f"t{n}", images=(), facts=(Answered(question="?", answer="a"),), task="text")
        for n in range(2)
    ]
    found = merged([item(0, 0, "a"), *blind, item(1, 1, "a"), item(2, 0, "b")], turns=9)
    assert [each.first.id for each in found] == ["0", "t0", "t1", "1"]


def test_turns_below_one_are_refused() -> None:
    with pytest.raises(ValueError, match="turns is 0; expected 1 or more"):
        merged([], turns=0)
