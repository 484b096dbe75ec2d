"""Each fact becomes a question and an answer, in as many ways as the recipe says."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.data.facts import (
    KIND,
    Answered,
    Captioned,
    Chosen,
    Fact,
    Grounded,
    Item,
    Judged,
    Located,
    Pointed,
)
from isthmus.data.faults import Fault
from isthmus.data.sample import ImagePart, Sample, Text
from isthmus.data.templates.instruct import Instructions
from isthmus.data.templates.template import DIVERSITIES, TemplateSet, template_set, template_sets
from isthmus.data.templates.wording import WORDS, as_question, by_substring
from isthmus.geometry.box_text import convention
from tests.tiny import tiny_image

SIZE = (100, 50)
FACTS: tuple[Fact, ...] = (
    Captioned(text="A red square."),
    Answered(question="What colour?", answer="red"),
    Chosen(question="Which?", choices=("blue", "red", "green"), index=1, context="Paint."),
    Judged(statement="The square is red.", is_true=True),
    Located(phrase="the square", box=(10, 10, 60, 40), size=SIZE),
    Grounded(
        text="A square and a star.",
        places=((0, 8, ((10, 10, 60, 40),)), (13, 19, ((0, 0, 9, 9), (80, 0, 99, 9)))),
        size=SIZE,
    ),
    Pointed(question="Which box?", boxes=((0, 0, 9, 9), (10, 10, 60, 40)), index=1, size=SIZE),
)
BY_KIND = {KIND[type(fact)]: fact for fact in FACTS}


def item(*facts: Fact, images: int = 1) -> Item:
    return Item(
        id="a",
        images=tuple(Path(f"/{n}.png") for n in range(images)),
        facts=facts,
        task="a task",
        meta={"key": 1},
    )


def told(fact: Fact, chance: int = 0, **settings: Any) -> tuple[str, str]:
    instructions = Instructions(**{"name": "set", **settings})
    ask, answer = instructions.sample(item(fact), Random(chance)).messages
    return ask.text, answer.text


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("caption", ("Describe the picture.", "A red square.")),
        ("vqa", ("What colour? Answer with a word or a short phrase.", "red")),
        (
            "choice",
            (
                "Paint.\nWhich?\nA. blue\nB. red\nC. green\nAnswer with the letter of the right "
                "option.",
                "B",
            ),
        ),
        ("judgement", ("Is the square red? Answer yes or no.", "yes")),
        ("region", ("Give the box of: the square", "[[100,200,600,800]]")),
        (
            "grounded",
            (
                "Describe the picture. Give the box of each thing that you name.",
                "A square [[100,200,600,800]] and a star [[000,000,090,180;800,000,990,180]].",
            ),
        ),
        (
            "pointing",
            (
                "Which box?\nA. [[000,000,090,180]]\nB. [[100,200,600,800]]\nAnswer with the "
                "letter of the right box.",
                "B",
            ),
        ),
    ],
)
def test_what_each_kind_of_fact_becomes(kind: str, expected: tuple[str, str]) -> None:
    assert told(BY_KIND[kind]) == expected


def test_a_conversation_keeps_what_the_item_knows() -> None:
    twice = item(Answered(question="A?", answer="a"), Answered(question="B?", answer="b"), images=2)
    sample = Instructions(name="set").sample(twice, Random(0))
    assert (sample.id, sample.task, sample.images, sample.meta) == (
        "a",
        "a task",
        twice.images,
        {"key": 1},
    )
    assert [m.role for m in sample.messages] == ["user", "assistant"] * 2
    assert [m.num_images for m in sample.messages] == [2, 0, 0, 0]
    assert sample.messages[2].text.startswith("B?")


@pytest.mark.parametrize("kind", BY_KIND)
def test_every_kind_has_ten_ways_of_its_own(kind: str) -> None:
    ways = template_set(kind)
    fact = BY_KIND[kind]
    assert len(set(ways.straight)) == 10
    assert len(ways.flipped) == (0 if kind == "caption" else 3)
    assert ways.fields <= WORDS[type(fact)]
    assert ways.bare is not None
    for way in (*ways.straight, *ways.flipped):
        alone = TemplateSet(name="one", straight=(way,))
        ask, answer = told(fact, template=alone)
        assert ask
        assert answer


@pytest.mark.parametrize("name", sorted(set(template_sets()) - set(BY_KIND)))
def test_published_sets_can_tell_a_kind_of_fact(name: str) -> None:
    ways = template_set(name)
    kinds = [fact for fact in FACTS if ways.fields <= WORDS[type(fact)]]
    assert kinds
    for fact in kinds:
        for diversity in DIVERSITIES:
            assert told(fact, template=ways, diversity=diversity)[1]


@pytest.mark.parametrize("kind", [kind for kind in BY_KIND if kind != "caption"])
def test_diversity_is_as_told(kind: str) -> None:
    ways = template_set(kind)
    asks = {
        diversity: Counter(ways.draw(diversity, Random(n)) for n in range(600))
        for diversity in DIVERSITIES
    }
    assert len(asks["single"]) == 1
    assert len(asks["ten"]) == len(asks["ten_flipped"]) == 10
    flipped = set(asks["ten_flipped"]) - set(asks["ten"])
    assert len(flipped) == 3
    share = sum(asks["ten_flipped"][way] for way in flipped) / 600
    assert 0.24 < share < 0.36  # three standard errors about 0.3


def test_a_share_is_flipped_even_alone() -> None:
    ways = template_set("honeybee.region")
    answers = Counter(told(BY_KIND["region"], n, template=ways)[1] for n in range(100))
    assert set(answers) == {"[[100,200,600,800]]", "the square"}
    assert 35 < answers["the square"] < 65  # three standard errors about 50


def test_one_way_holds_for_a_whole_conversation() -> None:
    facts = [Answered(question="Why?", answer=str(n)) for n in range(4)]
    for chance in range(20):
        sample = Instructions(name="s", diversity="ten").sample(item(*facts), Random(chance))
        assert len({m.text for m in sample.messages if m.role == "user"}) == 1


def test_coarse_templates_are_those_of_the_kind() -> None:
    own = template_set("llava.vqa")
    fine = told(BY_KIND["vqa"], template=own)
    assert fine[0].endswith("\nAnswer the question using a single word or phrase.")
    assert told(BY_KIND["vqa"], template=own, granularity="coarse") == told(BY_KIND["vqa"])


@pytest.mark.parametrize(
    ("kind", "dataset", "task"),
    [
        ("vqa", "set: What colour?", "a task: What colour?"),
        ("caption", "set", "a task"),
        ("region", "set: the square", "a task: the square"),
    ],
)
def test_identifiers_stand_in_place_of_instructions(kind: str, dataset: str, task: str) -> None:
    assert told(BY_KIND[kind], identifier="dataset", diversity="ten")[0] == dataset
    assert told(BY_KIND[kind], identifier="task")[0] == task


def test_names_may_hold_braces() -> None:
    assert told(BY_KIND["vqa"], name="{x}", identifier="dataset")[0] == "{x}: What colour?"


def test_choices_are_shuffled_and_the_letter_with_them() -> None:
    orders = set()
    for chance in range(60):
        ask, letter = told(BY_KIND["choice"], chance, shuffle=True)
        assert f"{letter}. red" in ask
        orders.add(ask)
    assert len(orders) == 6
    assert told(BY_KIND["choice"], 7, shuffle=True) == told(BY_KIND["choice"], 7, shuffle=True)


def test_boxes_are_written_as_told(tmp_path: Path) -> None:
    write = convention("honeybee").write
    assert told(BY_KIND["region"], write_boxes=write)[1] == "[0.100,0.200,0.600,0.800]"
    tiny_image().save(tmp_path / "a.png")
    width, height = tiny_image().size
    unknown = Located(phrase="it", box=(0, 0, width / 2, height / 2))
    asked = replace(item(unknown), images=(tmp_path / "a.png",))
    sample = Instructions(name="set").sample(asked, Random(0))
    assert sample.messages[1].text == "[[000,000,500,500]]"


@pytest.mark.parametrize(
    ("statement", "question"),
    [
        ("The bus is on this island.", "Is the bus on this island?"),
        ("Two cats are asleep", "Are two cats asleep?"),
        ("USA has a flag.", "Has USA a flag?"),
        ("Rain falls.", "Is it true that rain falls?"),
        ("Is it?", "Is it true that is it??"),
    ],
)
def test_statements_become_questions(statement: str, question: str) -> None:
    assert as_question(statement) == question


def test_the_published_conversion_is_kept_with_its_fault() -> None:
    assert by_substring("The bus on this island is red.") == "Is the bus on th island is red?"


@given(statement=st.text(min_size=1))
def test_any_statement_becomes_a_question(statement: str) -> None:
    assert as_question(statement).endswith("?")


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        (
            {"asks": ["{colour}"], "answer": "{answer}"},
            r"uses \{colour\}; a fact of kind 'vqa' has",
        ),
        ({"asks": ["{question!r}"], "answer": "x"}, "'question' in braces; expected one word"),
        ({"asks": ["{question.x}"], "answer": "x"}, "'question.x' in braces; expected one word"),
        ({"asks": ["{question"], "answer": "x"}, "unmatched braces"),
        ({"asks": [], "answer": "x"}, "expected a list of texts and a text"),
        ({"asks": ["x"], "answer": "x", "ask": 1}, "unknown key of the template set .*'asks'"),
        ({"asks": ["x"], "answer": "x", "flipped_share": 0.5}, "flipped_share 0.5"),
    ],
)
def test_templates_that_cannot_be_are_refused(template: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        told(BY_KIND["vqa"], template=TemplateSet.from_dict("mine", template))


def test_a_set_that_is_not_there_names_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"did you mean 'honeybee\.vqa'"):
        template_set("honeybe.vqa")


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ((), "wrong_layout"),
        ((FACTS[0], FACTS[1]), "wrong_layout"),
        ((Captioned(text=" "),), "empty_answer"),
        ((Answered(question="", answer="a"),), "no_question"),
        ((Answered(question="a", answer="\n"),), "empty_answer"),
        ((Chosen(question="a", choices=("b",), index=1),), "no_answer"),
        ((Located(phrase="a", box=(5, 0, 5, 9)),), "wrong_box"),
        ((Grounded(text="ab", places=((1, 3, ()),)),), "wrong_layout"),
        ((Grounded(text="abcd", places=((2, 3, ()), (0, 1, ()))),), "wrong_layout"),
        ((Pointed(question="a", boxes=((0, 0, 1, 1),), index=-1),), "no_answer"),
    ],
)
def test_facts_that_say_nothing_are_faults(facts: tuple[Fact, ...], reason: str) -> None:
    with pytest.raises(Fault) as fault:
        item(*facts)
    assert fault.value.reason == reason


def test_more_choices_than_letters_are_a_fault() -> None:
    many = Chosen(question="a", choices=tuple(map(str, range(27))), index=0)
    with pytest.raises(Fault, match="27 choices; expected 26 at most"):
        told(many)


def test_images_stand_where_the_template_says() -> None:
    caption = item(Captioned(text="a cat"), Captioned(text="a pet"), images=2)
    told = Instructions(name="set", template=template_set("vadapter.caption"))
    first, _, again, _ = told.sample(caption, Random(0)).messages
    assert first.parts == (Text("Describe the following "), ImagePart(), ImagePart(), Text(" :"))
    assert again.num_images == 0
    answer = {"asks": ["{question}"], "answer": "{images}"}
    with pytest.raises(ValueError, match=r"uses \{images\}"):
        Instructions(name="set", template=TemplateSet.from_dict("set", answer)).check(Answered)


def test_images_are_shown_first() -> None:
    sample: Sample = Instructions(name="set").sample(item(FACTS[0], images=2), Random(0))
    assert sample.messages[0].parts[:2] == (ImagePart(), ImagePart())
