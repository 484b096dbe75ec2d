"""`isthmus chat` and `isthmus eval` ask in the style that they are told."""

import io
import json
import shutil
from pathlib import Path

import pytest

from isthmus.cli import main
from isthmus.cli._model import open_model
from isthmus.cli.chat import Conversation
from isthmus.data.conversation import prompt
from isthmus.language.chat_template import chat_template
from tests.cli.conftest import World, json_lines, one_line_refusal


@pytest.fixture
def styled(world: World, tmp_path: Path) -> Path:
    """The trained model with a chat template that knows styles."""
    folder = Path(shutil.copytree(world.model, tmp_path / "styled"))
    _, processor = open_model(str(folder))
    text = chat_template("cogvlm_chat", processor.tokenizer, processor.image_token)
    (folder / "chat_template.jinja").write_text(text)
    return folder


def test_a_conversation_goes_on_in_its_style(styled: Path) -> None:
    model, processor = open_model(str(styled))
    talk = Conversation(model=model, processor=processor, max_new_tokens=4, style="short")
    talk.ask("Hm?")
    talk.ask("So?")
    read = processor.tokenizer.decode(prompt(talk.messages, processor))
    assert read.count(" Short answer:") == read.count("Question:") == 2


def test_eval_asks_in_the_style_that_it_is_told(world: World, styled: Path, tmp_path: Path) -> None:
    found = {}
    for style in ("short", "chat", None):
        output = tmp_path / str(style)
        words = ["eval", str(styled), "--data", str(world.data), "--output", str(output)]
        assert main([*words, *(("--style", style) if style else ()), "--max-new-tokens", "6"]) == 0
        results = json.loads((output / "results.json").read_text())
        assert results["provenance"]["style"] == style
        found[style] = [row["prediction"] for row in json_lines(output / "samples.jsonl")]
    assert found["chat"] == found[None] != found["short"]


def test_a_style_that_nobody_knows_is_refused(
    world: World,
    styled: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    for words in (
        ["chat"],
        ["eval", "--data", str(world.data), "--output", str(tmp_path / "out")],
    ):
        command, *others = words
        plain = [command, str(world.model), *others, "--style", "short"]
        assert "knows no styles" in one_line_refusal(plain, capsys)
        terse = [command, str(styled), *others, "--style", "terse"]
        assert "unknown style terse; expected chat or short" in one_line_refusal(terse, capsys)
