"""The command line as a whole: what it lists, how it refuses, what it says on errors."""

import subprocess
import sys
from pathlib import Path

import pytest

from isthmus import cli
from isthmus.cli import main

COMMANDS = [
    *("capfilt", "chat", "data", "diff", "eval", "export", "import", "microworld"),
    *("plan", "quickstart", "serve", "show", "study", "train"),
]
ISTHMUS = Path(sys.executable).parent / "isthmus"


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"]])
def test_the_overview_names_every_command_with_its_line(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 0
    text = capsys.readouterr().out
    assert list(cli.commands()) == COMMANDS
    assert all(f"  {name}" in text and line in text for name, line in cli.commands().items())
    assert all(line.endswith(".") for line in cli.commands().values())


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([name, "--help"])
    assert stop.value.code == 0
    assert f"usage: isthmus {name}" in capsys.readouterr().out.lower()


def test_an_unknown_command_suggests_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tran"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("isthmus: unknown command 'tran'; did you mean 'train'?")


@pytest.mark.parametrize(
    "error",
    [ValueError("two\nlines"), FileNotFoundError("two lines"), FloatingPointError("two lines")],
)
def test_an_error_of_the_user_is_one_line(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(words: list[str]) -> None:
        raise error

    monkeypatch.setattr("isthmus.cli.show.main", fail)
    assert main(["show"]) == 2
    assert capsys.readouterr().err == "isthmus: two lines\n"


def test_an_error_shows_its_origin_on_request(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(cli.TRACEBACK_SWITCH, "1")
    assert main(["show", "nonsense.recipe"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_a_fault_of_ours_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(words: list[str]) -> None:
        raise AssertionError("ours")

    monkeypatch.setattr("isthmus.cli.show.main", fail)
    with pytest.raises(AssertionError, match="ours"):
        main(["show"])


def test_an_interrupt_ends_without_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(words: list[str]) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("isthmus.cli.show.main", interrupt)
    assert main(["show"]) == 130


@pytest.mark.slow
@pytest.mark.parametrize("command", [[ISTHMUS], [sys.executable, "-m", "isthmus"]])
def test_the_installed_script_and_the_module_pass_the_status_on(command: list[str | Path]) -> None:
    done = subprocess.run(
        [*command, "show", "microworld.quikstart"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "did you mean 'microworld.quickstart'?" in done.stderr
