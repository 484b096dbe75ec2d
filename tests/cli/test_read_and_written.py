"""A language model with an encoder, by the commands alone: trained, asked and talked to."""

import json
from pathlib import Path

import pytest
import torch

from isthmus.cli import main
from isthmus.cli._model import open_model
from isthmus.cli.chat import Conversation
from tests.cli.conftest import json_lines, one_line_refusal
from tests.tiny import save_t5, save_vision, tiny_image
from tests.tiny_data import write_data


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reader")
    data = write_data(folder / "data", 12)
    words = ["train", "towers.connector", "--data", str(data), "--output", str(folder / "model")]
    words += ["--model.vision", save_vision(folder / "vision")]
    words += ["--model.language", save_t5(folder / "t5", tie_word_embeddings=False)]
    assert main(words) == 0
    return folder


def test_it_is_trained_and_measured(folder: Path, tmp_path: Path) -> None:
    stage = json.loads((folder / "model/recipe.json").read_text())["stages"][0]
    assert (stage["samples"], stage["feature_store"]["images"]) == (16, 12)
    data = folder / "data/messages.jsonl"
    words = ["eval", str(folder / "model"), "--data", str(data), "--output", str(tmp_path)]
    assert main(words) == 0
    samples = json_lines(tmp_path / "samples.jsonl")
    assert [s["target"] for s in samples] == [
        row["messages"][-1]["content"] for row in json_lines(data)
    ]
    assert any(s["prediction"] for s in samples)


def test_it_can_be_talked_to(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, processor = open_model(str(folder / "model"))
    talk = Conversation(model=model, processor=processor, max_new_tokens=6)
    talk.waiting.append(tiny_image(seed=1))
    answer = talk.ask("What?")
    inputs = processor(images=[tiny_image(seed=1)], text=["<image>What?\n"], return_tensors="pt")
    written = model.generate(**inputs, max_new_tokens=6, do_sample=False)[0, 1:]
    assert answer == processor.tokenizer.decode(written, skip_special_tokens=True).strip()
    assert len(written) == 6
    talk.ask("And now?")
    assert [message.role for message in talk.messages] == ["user", "assistant"] * 2


def test_the_pipeline_answers_as_generate_does(folder: Path) -> None:
    from transformers import pipeline

    pipe = pipeline("image-text-to-text", model=str(folder / "model"), device="cpu")
    content = [{"type": "image", "image": tiny_image(3)}, {"type": "text", "text": "What is it?"}]
    chat = [{"role": "user", "content": content}]
    (found,) = pipe(text=chat, max_new_tokens=6, do_sample=False, return_full_text=False)
    model, processor = open_model(str(folder / "model"))
    inputs = processor(images=[tiny_image(3)], text=["<image>What is it?\n"], return_tensors="pt")
    written = model.generate(**inputs, max_new_tokens=6, do_sample=False)
    assert torch.equal(written[0, :1], torch.tensor([2]))
    assert found["generated_text"] == processor.decode(written[0], skip_special_tokens=True)


def test_the_server_that_would_cut_its_answers_is_not_started(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = one_line_refusal(["serve", str(folder / "model")], capsys)
    assert "writes with a decoder" in said
    assert "isthmus chat" in said
