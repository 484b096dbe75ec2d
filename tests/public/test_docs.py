"""What docs/data.md tells, is so: its mixture is one, and it names every source and setting."""

import re
from dataclasses import fields
from pathlib import Path

import yaml

from isthmus.data.mixture.dataset import open_dataset
from isthmus.data.mixture.file import Asking, Mixture
from isthmus.data.sources._named import names
from isthmus.data.templates.template import TemplateSet

DATA = (Path(__file__).parents[2] / "docs/data.md").read_text("utf-8")


def section(title: str) -> str:
    return DATA.split(f"## {title}\n")[1].split("\n## ")[0]


def blocks(text: str) -> list[str]:
    return re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)


def test_the_mixture_is_one() -> None:
    mixture = Mixture.from_dict(yaml.safe_load(blocks(DATA)[0]))
    assert [entry.name for entry in mixture.entries] == ["vqav2", "boxes", "mine", "sharegpt"]
    assert mixture.asking_of(mixture.entries[0]).turns == 10


def test_a_template_and_a_map_of_ones_own_can_be_read(tmp_path: Path) -> None:
    template = yaml.safe_load(blocks(section("How facts are asked"))[0])["template"]
    assert TemplateSet.from_dict("mine", template).fields == {"question", "answer"}
    (entry,) = yaml.safe_load(blocks(section("Sources"))[0])
    (tmp_path / "labels.jsonl").write_text('{"file": "a", "q": "b", "a": "c"}\n')
    mixture = Mixture.from_dict({"entries": [entry]})
    assert len(open_dataset(mixture, mixture.entries[0], tmp_path).rows) == 1


def test_every_source_is_named() -> None:
    text = section("Sources").split("A map of one's own")[0]
    told = set(re.findall(r"`([a-z0-9_]+)`", text))
    assert told == set(names())


def test_every_setting_of_asking_is_named() -> None:
    table = [line for line in section("How facts are asked").splitlines() if line.startswith("|")]
    told = {word for line in table[2:] for word in re.findall(r"`([a-z_]+)", line.split("|")[1])}
    settings = {each.name for each in fields(Asking)}
    assert settings <= told
