"""Answers whose first words are read, and whose rest is written."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from isthmus.data.prefix import split_answer
from isthmus.data.sample import ImagePart, Message, Sample, Text


def sample(answer: str, *, asked: str = "", name: str = "s") -> Sample:
    parts = (ImagePart(), *((Text(asked),) if asked else ()))
    turns = (Message("user", parts), Message("assistant", (Text(answer),)))
    return Sample(id=name, messages=turns, images=(Path("/x.png"),))


@given(st.lists(st.text("abc", min_size=1), min_size=2, max_size=12), st.text("ab", max_size=3))
def test_nothing_is_lost_and_the_place_is_in_the_first_half(words: list[str], name: str) -> None:
    whole = sample(" ".join(words), name=name)
    split = split_answer(whole, seed=0)
    read, written = (turn.text.split(" ") for turn in split.messages)
    assert read + written == words
    assert 1 <= len(read) <= max(1, len(words) // 2)
    assert split.images == whole.images
    assert split_answer(whole, seed=0) == split


def test_every_place_is_drawn() -> None:
    answer = "a b c d e f"
    lengths = {
        len(split_answer(sample(answer, name=str(n)), seed=0).messages[0].text.split(" "))
        for n in range(60)
    }
    assert lengths == {1, 2, 3}


def test_a_question_stands_before_the_first_words() -> None:
    split = split_answer(sample("red star", asked="What?"), seed=0)
    assert split.messages[0].text == "What? red"
    assert isinstance(split.messages[0].parts[0], ImagePart)


def test_an_answer_of_one_word_stays_whole() -> None:
    assert split_answer(sample("star"), seed=0) == sample("star")
