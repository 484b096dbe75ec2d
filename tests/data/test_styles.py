"""One model is asked in several styles: a turn says which, and the chat template writes it."""

import json
from pathlib import Path
from random import Random

import pytest

from isthmus import IsthmusProcessor
from isthmus.data import sources
from isthmus.data.faults import Fault
from isthmus.data.mixture.dataset import open_dataset
from isthmus.data.mixture.file import Mixture
from isthmus.data.prefix import split_answer
from isthmus.data.rendering import check_template, render
from isthmus.data.sample import ImagePart, Message, Sample, Text
from isthmus.evaluation.requests import split_last_answer
from isthmus.language.tokenizer import load_tokenizer
from tests.tiny import save_language, tiny_image, tiny_image_processor

SAMPLE = Sample(
    id="a",
    messages=(
        Message("user", (ImagePart(), Text("Hm?"))),
        Message("assistant", (Text("red and"),)),
        Message("user", (Text("So?"),)),
        Message("assistant", (Text("no dog"),)),
    ),
    images=(Path("/a.png"),),
)


def processor_of(folder: Path, template: str | None = "cogvlm_chat") -> IsthmusProcessor:
    return IsthmusProcessor(
        image_processor=tiny_image_processor(),
        tokenizer=load_tokenizer(save_language(folder), template=template),
    )


def test_a_conversation_is_asked_in_its_style(tmp_path: Path) -> None:
    processor = processor_of(tmp_path)
    written = {
        style: render(SAMPLE.styled(style).messages, processor, "row")
        for style in ("short", "chat", None)
    }
    assert written["short"] == (
        "<image>Question: Hm? Short answer: red and\nQuestion: So? Short answer: no dog</s>"
    )
    assert written["chat"] == written[None] == written["short"].replace("Short answer", "Answer")
    question = render(SAMPLE.styled("short").messages[:1], processor, "row")
    assert question.endswith(" Short answer:")
    mixed = (*SAMPLE.styled("short").messages[:2], *SAMPLE.messages[2:])
    assert "Short answer: red" in render(mixed, processor, "row")
    assert "So? Answer: no" in render(mixed, processor, "row")


def test_stock_tools_name_the_style_in_the_message(tmp_path: Path) -> None:
    processor = processor_of(tmp_path)
    content = [{"type": "image"}, {"type": "text", "text": "Hm?"}]
    chat = [{"role": "user", "style": "short", "content": content}]
    assert processor.apply_chat_template(chat).endswith("<image>Question: Hm? Short answer:")
    assert SAMPLE.styled("short").messages[0].to_chat() == chat[0]
    assert "style" not in SAMPLE.messages[0].to_chat()


def test_the_style_stays_where_turns_are_changed() -> None:
    sample = SAMPLE.styled("short")
    prompt, _ = split_last_answer(sample)
    split = split_answer(sample, seed=0)
    assert split.messages[2].text != "So?"
    for messages in (
        sample.without_images().messages,
        prompt.blind().messages,
        split.messages,
        sample.by_answer()[-1].messages,
    ):
        assert [m.style for m in messages if m.role == "user"] == ["short", "short"]


def test_a_row_of_messages_keeps_its_style(tmp_path: Path) -> None:
    question, answer = (m.to_chat() for m in SAMPLE.styled("short").messages[2:])
    # Tables write None where nothing is said.
    rows = [[question, answer], [{**question, "style": None}, {**answer, "style": None}]]
    file = tmp_path / "talk.jsonl"
    file.write_text("".join(json.dumps({"messages": row}) + "\n" for row in rows), "utf-8")
    styles = [[m.style for m in sample.messages] for sample in sources.read(file, tmp_path)]
    assert styles == [["short", None], [None, None]]


def test_a_data_set_of_a_mixture_has_a_style(tmp_path: Path) -> None:
    row = {"messages": [m.to_chat() for m in SAMPLE.messages[2:]]}
    (tmp_path / "talk.jsonl").write_text(json.dumps(row))
    tiny_image().save(tmp_path / "a.png")
    (tmp_path / "vqa.json").write_text(json.dumps([{"image": "a.png", "q": "Hm?", "a": "red"}]))
    facts = {"fact": "vqa", "fields": {"question": "q", "answer": "a"}, "image": "{image}"}
    mixture = Mixture.from_dict(
        {
            "asking": {"style": "short"},
            "entries": [
                {"name": "vqa", "source": facts, "file": "vqa.json", "template": "cogvlm.vqa"},
                {"name": "talk", "file": "talk.jsonl", "asking": {"style": "chat"}},
                {"name": "plain", "file": "talk.jsonl", "asking": {"style": None}},
            ],
        }
    )
    processor = processor_of(tmp_path / "language")
    written = []
    for entry in mixture.entries:
        sample = open_dataset(mixture, entry, tmp_path).sample(0, Random(0))
        assert isinstance(sample, Sample)
        written.append(render(sample.messages, processor, "row"))
    assert written == [
        "<image>Question: Hm? Short answer: red</s>",
        "Question: So? Answer: no dog</s>",
        "Question: So? Answer: no dog</s>",
    ]


def test_a_style_that_would_be_ignored_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"style 'short', but the chat template knows no styles"):
        check_template(processor_of(tmp_path, None), "short")
    check_template(processor_of(tmp_path), "short")
    with pytest.raises(Fault, match="knows no styles"):  # of a row, which is left out and named
        render(SAMPLE.styled("short").messages, processor_of(tmp_path, None), "row")
    with pytest.raises(ValueError, match=r"unknown style terse; expected chat or short"):
        check_template(processor_of(tmp_path), "terse")
    with pytest.raises(Fault, match="unknown style terse"):
        render(SAMPLE.styled("terse").messages, processor_of(tmp_path), "row")
