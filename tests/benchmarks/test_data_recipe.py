"""Every data set of the study is read as it was told, and its arms differ in what they say."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from benchmarks import data_recipe, data_sets
from benchmarks.data_recipe import GROUPS, ONE_PER_TASK, arms, asked_as, learning_from
from isthmus.data.facts import Item
from isthmus.data.mixture.dataset import DataSet, open_dataset
from isthmus.data.mixture.file import Mixture
from isthmus.data.sample import Sample
from isthmus.evaluation.requests import Choose, Generate, Locate
from isthmus.microworld.scene import scenes

NUM = 4
TOLD = (
    *("question", "answer", "choices", "index", "statement", "is_true"),
    *("phrase", "box", "text"),
)
"""What a fact says, of whichever kind it is."""


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The data sets, with few pictures."""
    few = tuple(replace(each, num=NUM) for each in data_sets.DATA_SETS)
    talks = tuple(replace(each, num=NUM) for each in data_sets.CONVERSATIONS)
    for module in (data_sets, data_recipe):
        monkeypatch.setattr(module, "DATA_SETS", few)
    monkeypatch.setattr(data_sets, "CONVERSATIONS", talks)
    monkeypatch.setattr(data_recipe, "NUM_TEST", NUM)
    data_sets.write_all(tmp_path)
    return tmp_path


def opened(mixture: Mixture) -> dict[str, DataSet]:
    return {entry.name: open_dataset(mixture, entry, Path()) for entry in mixture.entries}


def test_what_is_told_of_a_picture_is_read_again(data: Path) -> None:
    found = opened(arms(data)["all"])
    for each in data_sets.DATA_SETS:
        told = [
            (number, fact)
            for number, (scene, _) in enumerate(scenes("train", NUM))
            for _, fact in each.tell(scene, Random(f"{each.name}/{number}"))
        ]
        dataset = found[each.name]
        items = [dataset.content(row) for row in range(len(dataset.rows))]
        assert all(isinstance(item, Item) and item.task == each.task for item in items)
        assert [int(item.images[0].stem) for item in items] == [number for number, _ in told]
        for item, (_, fact) in zip(items, told, strict=True):
            (read,) = item.facts
            # Files say some things that only they know, such as the answers of ten annotators.
            for name in TOLD:
                assert getattr(read, name, None) == getattr(fact, name, None)


def test_conversations_are_read_as_they_are(data: Path) -> None:
    found = opened(arms(data)["all"])
    for name, shows in (("llava150k", 1), ("sharegpt", 0)):
        samples = [found[name].content(row) for row in range(NUM)]
        assert all(isinstance(each, Sample) and len(each.images) == shows for each in samples)


def test_arms_have_the_groups_that_they_name(data: Path) -> None:
    mixtures = arms(data)
    groups = Counter(entry.task for entry in mixtures["all"].entries)
    assert groups.keys() == GROUPS.keys()
    for group in GROUPS:
        kept = Counter(entry.task for entry in mixtures[f"without_{group}"].entries)
        assert kept == Counter({g: n for g, n in groups.items() if g != group})
    once = [entry.task for entry in mixtures["one_per_task"].entries]
    assert sorted(once) == sorted(GROUPS)
    assert len(ONE_PER_TASK) == len(GROUPS)
    assert len({str(mixture.to_dict()) for mixture in mixtures.values()}) == len(mixtures)
    assert {mixture.samples for mixture in mixtures.values()} == {data_recipe.DRAWS}


def test_each_arm_is_asked_the_same_in_its_own_words(data: Path) -> None:
    mixtures = arms(data)
    asked = {
        name: asked_as(mixtures[name], data / "test").requests(lambda text: len(text))
        for name in ("all", "coarse", "named_by_dataset", "named_by_task")
    }
    first = {request.id: request for request in asked["all"]}
    words: dict[str, dict[str, str]] = {}
    for name, requests in asked.items():
        assert [request.id for request in requests] == list(first)
        assert all(type(request) is type(first[request.id]) for request in requests)
        words[name] = {each.id: each.prompt.messages[-1].text for each in requests}
    assert Counter(map(type, asked["all"])).keys() == {Choose, Generate, Locate}
    assert words["all"]["vqav2-0"].startswith("Answer the question using a single word or phrase.")
    assert words["coarse"]["vqav2-0"].endswith("Answer with a word or a short phrase.")
    assert words["named_by_dataset"]["vqav2-0"].startswith("vqav2: ")
    assert words["named_by_task"]["vqav2-0"].startswith("open: ")


def test_the_words_around_a_question_are_those_that_were_learned(data: Path) -> None:
    mixtures = arms(data)
    for name in ("all", "coarse", "named_by_dataset", "named_by_task"):
        dataset = opened(mixtures[name])["vqav2"]
        item = dataset.content(0)
        assert isinstance(item, Item)
        learned = dataset.told(item, Random(0)).messages[0].text
        before, _, after = learned.partition(item.facts[0].question)
        requests = asked_as(mixtures[name], data / "test").requests(len)
        asked = next(each for each in requests if each.id == "vqav2-0").prompt.messages[-1].text
        assert asked.startswith(before)
        assert asked.endswith(after)
        assert before or after


def test_a_recipe_is_known_by_what_its_mixture_says(data: Path, tmp_path: Path) -> None:
    mixtures = arms(data)
    files = {
        data_recipe._written(name, mixtures[name], tmp_path).name for name in ("all", "coarse")
    }
    changed = replace(mixtures["all"], samples=7)
    files.add(data_recipe._written("all", changed, tmp_path).name)
    assert len(files) == 3
    arm = learning_from(tmp_path / "a.yaml", start=tmp_path)
    assert arm.stages[0].data.max_bad_share == 0
    assert arm.start == arm.blind().start == tmp_path
    assert arm.model == data_recipe.pretraining().model
