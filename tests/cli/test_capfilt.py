"""`isthmus capfilt`: who may judge and write, and which settings are refused."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from isthmus.cli import main
from tests.cli.conftest import json_lines
from tests.evaluation.tiny_captioners import NUM, answering, captioning, write_captioned
from tests.tiny_alignment import alignment_processor, save_two_towers

MODELS = ("aligned", "clip", "answering")
"""Folders of models."""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    write_captioned(folder)
    model = captioning()
    model.save_pretrained(folder / "aligned")
    alignment_processor(model).save_pretrained(folder / "aligned")
    save_two_towers(folder / "clip", "clip")
    answers, processor = answering(folder)
    answers.save_pretrained(folder / "answering")
    processor.save_pretrained(folder / "answering")
    return folder


@dataclass(frozen=True)
class Commanded:
    """Models and a file on disk, and a folder to write to."""

    models: Path
    folder: Path
    capsys: pytest.CaptureFixture[str]

    def __call__(self, judge: str, *words: str, output: str = "out") -> tuple[int, str]:
        files = ["--data", str(self.models / "captions.jsonl"), "--output"]
        files.append(str(self.folder / f"{output}.jsonl"))
        given = [str(self.models / word) if word in MODELS else word for word in words]
        code = main(["capfilt", str(self.models / judge), *files, *given])
        said = self.capsys.readouterr()
        return code, said.err if code else said.out

    def about(self, output: str = "out") -> dict[str, Any]:
        return json.loads((self.folder / f"{output}.provenance.json").read_text())


@pytest.fixture
def command(models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Commanded:
    return Commanded(models, tmp_path, capsys)


def test_from_the_command_line(command: Commanded) -> None:
    words = ["--candidates", "2", "--keep", "1", "--max-new-tokens", "5"]
    code, said = command("aligned", *words)
    assert code == 0
    assert f"{NUM} captions in" in said
    assert f"{command.about()['cut']} captions came to no end and were left out" in said
    assert len(json_lines(command.folder / "out.jsonl")) == NUM
    assert command.about()["models"] == dict.fromkeys(
        ("judge", "captioner"), str(command.models / "aligned")
    )
    code, said = command("aligned", *words)
    assert code == 2
    assert "is there already" in said


def test_each_kind_of_model_writes_for_each_judge(command: Commanded) -> None:
    words = ["--candidates", "2", "--max-new-tokens", "6"]
    told = ["--captioner", "answering", "--prompt", "a photo of"]
    assert command("clip", *words, "--captioner", "aligned", output="a")[0] == 0
    assert command("clip", *words, *told, output="b")[0] == 0
    assert command("aligned", *words, *told, output="c")[0] == 0
    found = [(command.about(name)["judge"]["by"]) for name in "abc"]
    assert found == ["two towers", "two towers", "match"]
    found = [(command.about(name)["captioner"]["by"]) for name in "abc"]
    assert found == ["queries", "language model", "language model"]
    assert command.about("c")["models"] == {
        "judge": str(command.models / "aligned"),
        "captioner": str(command.models / "answering"),
    }
    assert command("aligned", "--candidates", "0", "--by", "similarity", output="d")[0] == 0
    assert command.about("d")["judge"]["by"] == "similarity"
    assert command("clip", "--candidates", "0", "--by", "similarity", output="e")[0] == 0
    assert (command.about("e")["judge"]["by"], command.about("e")["captioner"]) == (
        "two towers",
        None,
    )


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["clip"], "clip writes no captions; name a --captioner"),
        (["answering"], "can't tell how well captions fit; name one that holds images and texts"),
        (["clip", "--captioner", "clip"], "name the folder of a model of ours that writes"),
        (["clip", "--by", "match", "--captioner", "aligned"], "--by match asks for a matching"),
        (["aligned", "--candidates", "0", "--captioner", "aligned"], "aligned would be ignored"),
        (["aligned", "--candidates", "0", "--top-p", "0.5"], "--top-p 0.5 would be ignored"),
        (["aligned", "--candidates", "0", "--max-new-tokens", "5"], "--max-new-tokens 5 would be"),
        (["aligned", "--candidates", "0", "--seed", "5"], "--seed 5 would be ignored"),
        (["aligned", "--candidates", "0", "--prompt", "a"], "--prompt a would be ignored"),
        (["aligned", "--max-new-tokens", "5", "--prompt", "a"], "the prompt is 'a', but"),
        (["aligned"], "max_new_tokens is 30, and the captioner has room for 8 tokens"),
        (["aligned", "--top-p", "0"], "top_p is 0.0; expected a probability"),
    ],
)
def test_a_wrong_setting_is_one_line_and_nothing_is_written(
    words: list[str], reason: str, command: Commanded
) -> None:
    code, said = command(*words)
    assert code == 2
    assert reason in said
    assert said.count("\n") == 1
    assert not list(command.folder.iterdir())
