from pathlib import Path

import pytest

from isthmus.data.sample import ImagePart, Message, Sample, Text
from isthmus.evaluation.requests import Prompt, split_last_answer, unique_ids

QUESTION = Message("user", (ImagePart(), Text("What is it?")))
ANSWER = Message("assistant", (Text(" a cat "),))


def sample(*messages: Message, name: str = "s") -> Sample:
    images = tuple(Path(f"{n}.png") for n in range(sum(m.num_images for m in messages)))
    return Sample(id=name, messages=messages, images=images)


def test_a_conversation_is_cut_before_its_last_answer() -> None:
    more = Message("user", (Text("And now?"),))
    prompt, target = split_last_answer(sample(QUESTION, ANSWER, more, ANSWER))
    assert prompt.messages == (QUESTION, ANSWER, more)
    assert prompt.images == (Path("0.png"),)
    assert target == "a cat"


def test_what_follows_the_last_answer_is_left_out_with_its_pictures() -> None:
    whole = sample(QUESTION, ANSWER, QUESTION, QUESTION)
    assert len(whole.images) == 3
    assert split_last_answer(whole) == split_last_answer(sample(QUESTION, ANSWER))


def test_an_answer_to_nothing_is_refused_by_name() -> None:
    for turns in ([ANSWER], [ANSWER, QUESTION]):
        with pytest.raises(ValueError, match=r"'lone' begins with the assistant's last turn"):
            split_last_answer(sample(*turns, name="lone"))


def test_the_question_marks_pictures_only_among_several() -> None:
    two = Message("user", (ImagePart(), Text("or"), ImagePart(), Text("?")))
    assert Prompt(messages=(QUESTION,)).question == "What is it?"
    assert Prompt(messages=(two,)).question == "[picture] or [picture] ?"


def test_a_blind_prompt_keeps_the_words() -> None:
    prompt, _ = split_last_answer(sample(QUESTION, ANSWER, QUESTION, ANSWER))
    blind = prompt.blind()
    assert blind.images == ()
    assert [message.num_images for message in blind.messages] == [0, 0, 0]
    assert [m.text for m in blind.messages] == [m.text for m in prompt.messages]


def test_repeated_ids_are_told_apart() -> None:
    names = ["a", "b", "a", "a"]
    assert unique_ids([sample(QUESTION, ANSWER, name=n) for n in names]) == ["a", "b", "a#2", "a#3"]
