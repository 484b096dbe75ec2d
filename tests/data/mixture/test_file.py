"""A mixture file says what it says strictly: an unknown word is an error that names the nearest."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from isthmus.data.mixture.dataset import open_dataset
from isthmus.data.mixture.drawn import Drawn, Member
from isthmus.data.mixture.file import Mixture, read_mixture
from tests.tiny_containers import write_table

ENTRY = {"name": "a", "file": "a.jsonl"}


def write(folder: Path, content: Any) -> Path:
    file = folder / "mixture.yaml"
    file.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return file


def test_what_is_left_out_has_its_default(tmp_path: Path) -> None:
    mixture = read_mixture(write(tmp_path, {"entries": [ENTRY]}))
    assert mixture.to_dict() == Mixture.from_dict(mixture.to_dict()).to_dict()
    (entry,) = mixture.entries
    assert entry.source == "by_content"
    assert mixture.asking_of(entry) == mixture.asking


def test_a_data_set_is_asked_as_all_are_but_for_what_it_says(tmp_path: Path) -> None:
    entries = [ENTRY, {**ENTRY, "name": "b", "asking": {"turns": 3}}]
    mixture = read_mixture(
        write(tmp_path, {"asking": {"diversity": "ten", "turns": 2}, "entries": entries})
    )
    found = [mixture.asking_of(entry) for entry in mixture.entries]
    assert [(asking.diversity, asking.turns) for asking in found] == [("ten", 2), ("ten", 3)]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("entries: [", "is not YAML"),
        ("- a", r"is \['a'\]; expected an object with entries"),
        ({"entries": []}, r"data sets of the mixture are \[\]"),
        ({"entries": [ENTRY, ENTRY]}, r"\['a', 'a'\]; expected each name once"),
        ({"entries": [{"name": "a"}]}, "give one of them"),
        ({"entries": [{**ENTRY, "name": "../a"}]}, r"is '\.\./a'; expected letters, digits and"),
        ({"entries": [{**ENTRY, "wieght": 1.0}]}, "unknown key 'wieght'; did you mean 'weight'"),
        ({"entries": [ENTRY], "samples": 0}, "samples is 0; expected 1 or more"),
        ({"entries": [ENTRY], "asking": {"turns": 0}}, "turns is 0; expected 1 or more"),
        (
            {"entries": [ENTRY], "balance": {"rule": "evenly"}},
            "expected 'per_dataset' or 'per_task'",
        ),
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, content: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        read_mixture(write(tmp_path, content))


def test_a_mixture_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"the mixture .*none.yaml does not exist"):
        read_mixture(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"source": "vqua"}, "'a': unknown source 'vqua'; did you mean 'vqa'"),
        ({"source": "vqa"}, "'a': has the files file; expected questions, annotations"),
        ({"file": "b.jsonl"}, "'a': the data file .*b.jsonl does not exist"),
        ({"image_root": "none"}, "'a': the image root .*none does not exist"),
        ({"template": "vqua"}, "'a': unknown template set 'vqua'"),
        ({"asking": {"boxes": "cog"}}, "'a': unknown box convention 'cog'"),
        ({"asking": {"turn": 2}}, "'a': Asking: unknown key 'turn'; did you mean 'turns'"),
        ({"options": {"split": "train"}}, "'a': .*split"),
    ],
)
def test_a_data_set_that_cannot_be_opened_is_named(
    tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    (tmp_path / "a.jsonl").write_text('{"image": "x.png", "caption": "a"}\n')
    mixture = Mixture.from_dict({"entries": [{**ENTRY, **changes}]})
    with pytest.raises(ValueError, match=reason):
        open_dataset(mixture, mixture.entries[0], tmp_path)


def test_the_task_of_a_data_set_is_what_it_says_or_what_its_rows_say(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('not a row\n{"image": "a.jsonl", "caption": "a"}\n')
    entries = [
        ENTRY,
        {**ENTRY, "name": "b"},
        {**ENTRY, "name": "c", "task": "mine"},
    ]
    mixture = Mixture.from_dict({"balance": {"rule": "per_task"}, "entries": entries})
    members = [
        Member(dataset=open_dataset(mixture, entry, tmp_path), units=range(2))
        for entry in mixture.entries
    ]
    drawn = Drawn(members, mixture.balance, num=None, seed=0)
    assert drawn.shares == [0.25, 0.25, 0.5]
    assert drawn.num == 6


def test_files_behind_a_pattern_are_known_wherever_it_begins(tmp_path: Path) -> None:
    for part in ("part-0", "part-1"):
        (tmp_path / part).mkdir()
        write_table(tmp_path / part / "a.parquet", [{"image": "x.png", "caption": part}])
    entry = {"name": "a", "source": "hf_table", "file": "part-*/a.parquet"}
    mixture = Mixture.from_dict({"entries": [entry]})
    before = open_dataset(mixture, mixture.entries[0], tmp_path)
    assert len(before.rows) == 2
    assert before.image_root == tmp_path
    again = open_dataset(mixture, mixture.entries[0], tmp_path)
    assert again.digest == before.digest
    write_table(tmp_path / "part-1/a.parquet", [{"image": "x.png", "caption": "another"}])
    assert open_dataset(mixture, mixture.entries[0], tmp_path).digest != before.digest
    (tmp_path / "part-2").mkdir()
    write_table(tmp_path / "part-2/a.parquet", [{"image": "x.png", "caption": "more"}])
    assert open_dataset(mixture, mixture.entries[0], tmp_path).digest != again.digest
