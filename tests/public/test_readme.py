"""What the README shows, works: its code runs, its commands, flags, files and recipes exist."""

import re
import shlex
from pathlib import Path

import pytest

from isthmus import cli, recipes
from tests.tiny import tiny_model

REPOSITORY = Path(__file__).parents[2]
README = (REPOSITORY / "README.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def commands() -> list[list[str]]:
    lines = "\n".join(blocks("bash")).replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def test_the_python_runs_as_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model, processor = tiny_model(tmp_path / "towers")
    for part in (model, processor):
        part.save_pretrained(tmp_path / "model")
    (code,) = blocks("python")
    assert len(code.strip().splitlines()) <= 12
    monkeypatch.chdir(REPOSITORY)
    exec(code.replace("runs/quickstart/model", str(tmp_path / "model")), {})
    assert capsys.readouterr().out.endswith("\n")


def test_every_isthmus_command_and_its_flags_exist(capsys: pytest.CaptureFixture[str]) -> None:
    found = [words[1:] for words in commands() if words[0].endswith("isthmus")]
    assert {words[0] for words in found} <= set(cli.commands())
    for words in found:
        flags = [word for word in words if word.startswith("--")]
        if not flags:
            continue
        subject = [words[1]] if words[0] == "train" else []
        with pytest.raises(SystemExit):
            cli.main([words[0], "--help"])
        with pytest.raises(SystemExit):
            cli.main([words[0], *subject, "--help"])
        text = capsys.readouterr().out
        assert [flag for flag in flags if flag not in text] == []


def test_every_recipe_that_is_named_exists() -> None:
    named = set(re.findall(r"\b(?:microworld|towers)\.[a-z]+\b", README))
    assert named
    assert named <= set(recipes.names())


def test_every_link_into_the_repository_leads_somewhere() -> None:
    targets = re.findall(r"\]\(([^)#:]+)\)", README)
    assert "docs/isthmus.svg" in targets
    assert [target for target in targets if not (REPOSITORY / target).is_file()] == []


def test_the_tree_names_every_folder_of_the_package() -> None:
    listed = set(re.findall(r"^  (\w+)(?:/|\.py) ", README, re.MULTILINE))
    package = REPOSITORY / "src" / "isthmus"
    present = {path.stem for path in package.glob("[!_]*") if path.is_dir() or path.suffix == ".py"}
    assert present - listed == set()


def test_every_make_target_that_is_named_exists() -> None:
    makefile = (REPOSITORY / "Makefile").read_text("utf-8")
    named = {words[1] for words in commands() if words[0] == "make"}
    named |= set(re.findall(r"`make ([a-z-]+)`", README))
    assert named
    assert [target for target in named if f"\n{target}:" not in makefile] == []
