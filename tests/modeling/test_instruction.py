"""What is asked about an image reaches the connector that reads it, on every way to the model."""

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from transformers import AutoProcessor

import isthmus
from isthmus.cli.chat import Conversation
from isthmus.connectors._qformer_text import TextSide
from isthmus.connectors.qformer import QFormer
from isthmus.data.dataset import ConversationDataset
from isthmus.data.sample import ImagePart, Message, Sample, Text
from isthmus.evaluation.encoding import image_inputs
from isthmus.evaluation.requests import Prompt
from tests.tiny import tiny_image, tiny_model, tiny_tokenizer

READER = QFormer.Config(
    num_queries=3,
    depth=2,
    d_hidden=12,
    num_heads=2,
    dropout=0.0,
    text=TextSide(vocab_size=280, num_positions=20),
)
Pair = tuple[isthmus.IsthmusForConditionalGeneration, isthmus.IsthmusProcessor]


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    tiny_tokenizer().save_pretrained(tmp_path / "words")
    asking = {"connector": READER, "qformer_tokenizer": str(tmp_path / "words")}
    model, processor = tiny_model(tmp_path, **asking)
    with torch.no_grad():
        for parameter in model.model.connector.parameters():
            parameter.normal_(std=0.3)  # fresh weights hardly tell one word from another
    return model, processor


def asked(text: str, *images: Image.Image) -> list[dict[str, Any]]:
    shown = [{"type": "image", "image": image} for image in images]
    return [{"role": "user", "content": [*shown, {"type": "text", "text": text}]}]


def read(processor: isthmus.IsthmusProcessor, *chats: list[dict[str, Any]]) -> dict[str, Any]:
    how = {"tokenize": True, "return_dict": True, "return_tensors": "pt"}
    options = {"padding": True}
    return dict(
        processor.apply_chat_template(
            list(chats), add_generation_prompt=True, processor_kwargs=options, **how
        )
    )


def words(inputs: dict[str, Any]) -> list[str]:
    return tiny_tokenizer().batch_decode(inputs["qformer_input_ids"], skip_special_tokens=True)


@torch.no_grad()
def test_the_words_decide_what_is_seen(pair: Pair) -> None:
    model, processor = pair
    pictures = [tiny_image(number) for number in range(3)]
    inputs = read(processor, asked("Red?", pictures[0]), asked("How many?", *pictures[1:]))
    assert words(inputs) == ["Red?", "How many?", "How many?"]
    seen = model.get_image_features(
        inputs["pixel_values"], inputs["qformer_input_ids"], inputs["qformer_attention_mask"]
    ).pooler_output
    other = read(processor, asked("Blue?", pictures[0]))
    alone = model.get_image_features(
        other["pixel_values"], other["qformer_input_ids"], other["qformer_attention_mask"]
    ).pooler_output
    assert (seen[0] - alone[0]).abs().max() > 1e-3
    # Padding behind the shorter question says nothing.
    same = read(processor, asked("Red?", pictures[0]))
    again = model.get_image_features(
        same["pixel_values"], same["qformer_input_ids"], same["qformer_attention_mask"]
    ).pooler_output
    torch.testing.assert_close(seen[0], again[0], atol=1e-5, rtol=0)
    assert not torch.equal(model(**inputs).logits[0, -1], model(**other).logits[0, -1])


@torch.no_grad()
def test_every_way_to_the_model_tells_the_same_words(pair: Pair, tmp_path: Path) -> None:
    model, processor = pair
    tiny_image().save(tmp_path / "a.png")
    question = Message("user", (ImagePart(), Text("What is it?")))
    messages = (question, Message("assistant", (Text("red"),)))
    sample = Sample(id="s", messages=messages, images=(tmp_path / "a.png",))
    inputs = read(processor, asked("What is it?", tiny_image()))
    batch = ConversationDataset([sample], processor).batch([0]).model_inputs()
    prompt = Prompt(messages=(question,), images=sample.images)
    measured = image_inputs(model, processor, [prompt])
    for name in ("qformer_input_ids", "qformer_attention_mask"):
        assert torch.equal(batch[name], inputs[name])
        assert torch.equal(measured[name], inputs[name])
    greedy = {"max_new_tokens": 6, "do_sample": False, "eos_token_id": 1, "pad_token_id": 2}
    written = model.generate(**inputs, **greedy)
    kept = {n: v for n, v in inputs.items() if n != "pixel_values"} | measured
    assert torch.equal(model.generate(**kept, **greedy), written)
    talk = Conversation(model=model, processor=processor, max_new_tokens=6)
    talk.waiting.append(tiny_image())
    answer = processor.tokenizer.decode(
        written[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True
    )
    assert talk.ask("What is it?") == answer.strip()


@torch.no_grad()
def test_each_view_of_a_picture_is_asked_the_same(tmp_path: Path) -> None:
    tiny_tokenizer().save_pretrained(tmp_path / "words")
    model, processor = tiny_model(
        tmp_path,
        connector=READER,
        qformer_tokenizer=str(tmp_path / "words"),
        image_resize="tiles",
        max_tiles=4,
    )
    inputs = read(processor, asked("Red?", tiny_image(0, 120, 30), tiny_image(1, 30, 30)))
    assert words(inputs) == ["Red?"] * 6
    assert model(**inputs).logits.isfinite().all()


def test_a_saved_processor_still_asks(pair: Pair, tmp_path: Path) -> None:
    for part in pair:
        part.save_pretrained(tmp_path / "saved")
    expected = read(pair[1], asked("Red?", tiny_image()))
    for loaded in (
        isthmus.load(tmp_path / "saved")[1],
        AutoProcessor.from_pretrained(tmp_path / "saved"),
    ):
        found = read(loaded, asked("Red?", tiny_image()))
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_a_plain_call_asks_with_its_text(pair: Pair) -> None:
    inputs = pair[1](images=tiny_image(), text="<image> Red? ", return_tensors="pt")
    assert words(dict(inputs)) == ["Red?"]


def test_a_long_question_is_cut_to_the_positions(pair: Pair) -> None:
    inputs = read(pair[1], asked("why " * 20, tiny_image()))
    assert inputs["qformer_input_ids"].shape == (1, 20)


@pytest.mark.slow
def test_a_reader_and_its_tokenizer_come_together(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"'qformer' reads instructions.*no tokenizer"):
        tiny_model(tmp_path, connector=READER)
    tiny_tokenizer().save_pretrained(tmp_path / "words")
    with pytest.raises(ValueError, match=r"'mlp' reads no instruction.*a tokenizer"):
        tiny_model(tmp_path, connector="mlp", qformer_tokenizer=str(tmp_path / "words"))
    few = QFormer.Config(text=TextSide(vocab_size=100))
    with pytest.raises(ValueError, match=r"has 259 entries.*vocabulary of 100"):
        tiny_model(tmp_path, connector=few, qformer_tokenizer=str(tmp_path / "words"))


def test_words_for_a_connector_that_reads_none_are_refused(tmp_path: Path) -> None:
    model, _ = tiny_model(tmp_path, connector="mlp")
    ids = torch.ones(1, 3, dtype=torch.long)
    with pytest.raises(ValueError, match="connector 'mlp' reads none"):
        model.get_image_features(torch.zeros(1, 3, 32, 32), ids)
