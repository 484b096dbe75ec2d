"""What the small T5 reads and writes, how answers are weighed, and how its weights are drawn."""

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer, PreTrainedTokenizerFast

from isthmus.microworld import towers
from isthmus.microworld.towers import encoder_decoder
from isthmus.microworld.towers.corpus import Document, write_document
from isthmus.microworld.towers.encoder_decoder import (
    EncoderDecoder,
    marking_tokenizer,
    read_and_written,
)
from isthmus.microworld.towers.pretrain import optimizers

TURNS = [("What is on d3?", "cross"), ("Count the crosses.", "1")]
DOCUMENT = Document(write_document("d3 cross.", TURNS, chat=False))


@pytest.fixture(autouse=True)
def shipped_tokenizer(monkeypatch: pytest.MonkeyPatch) -> PreTrainedTokenizerFast:
    """The language models' as it lies there; training it anew gives the same and takes seconds."""
    tokenizer = AutoTokenizer.from_pretrained(towers.path("lm_base"))
    monkeypatch.setattr(encoder_decoder, "microworld_tokenizer", lambda *, chat: tokenizer)
    return tokenizer


def test_a_document_is_one_answer_or_numbered_ones() -> None:
    read, written = read_and_written(DOCUMENT, "numbered")
    assert read == "d3 cross.\nWhat is on d3? 1\nCount the crosses. 2\n"
    assert written == "1 cross\n2 1"
    for kind in ("lone", "in_turn"):
        read, written = read_and_written(DOCUMENT, kind)
        assert read == "d3 cross.\nWhat is on d3?\ncross\nCount the crosses.\n"
        assert written == "1"


def test_what_is_read_is_what_a_conversation_becomes() -> None:
    """The template that stands in when the tokenizer of an encoder has none."""
    lines = towers.path("lm_base").parents[3] / "language/templates/lines.jinja"
    tokenizer = marking_tokenizer()
    tokenizer.chat_template = lines.read_text()
    messages = [
        {"role": "user", "content": "d3 cross.\nWhat is on d3?"},
        {"role": "assistant", "content": "cross"},
        {"role": "user", "content": "Count the crosses."},
    ]
    rendered = tokenizer.apply_chat_template(messages, tokenize=False)
    assert rendered == read_and_written(DOCUMENT, "in_turn")[0]


def test_marks_are_this_tokenizers_alone(shipped_tokenizer: PreTrainedTokenizerFast) -> None:
    marked, before = marking_tokenizer(), shipped_tokenizer("a red star").input_ids
    assert marked("a red star").input_ids == [*before, marked.eos_token_id]
    assert shipped_tokenizer("a red star").input_ids == before
    assert marked.eos_token_id not in before


def test_tables_are_no_matrices_of_muon() -> None:
    model = EncoderDecoder(steps=4, seed=0).model
    muon, adam = optimizers(model, 1e-3)
    held = {id(weight) for group in muon.param_groups for weight in group["params"]}
    bias = model.encoder.block[0].layer[0].SelfAttention.relative_attention_bias.weight
    assert id(bias) not in held
    assert id(model.shared.weight) not in held
    assert id(model.encoder.block[0].layer[0].SelfAttention.k.weight) in held
    asked = model.encoder.block[0].layer[0].SelfAttention.q.parametrizations.weight.original
    assert id(asked) in held
    assert held.isdisjoint(id(p) for group in adam.param_groups for p in group["params"])


def test_what_is_saved_is_what_was_trained(tmp_path: Path) -> None:
    run = EncoderDecoder(steps=4, seed=0)
    run.save(tmp_path)
    saved = AutoModelForSeq2SeqLM.from_pretrained(tmp_path, dtype=torch.float32)
    ids = torch.arange(8)[None]
    with torch.no_grad():
        ours, theirs = (
            model(input_ids=ids, decoder_input_ids=ids).logits for model in (run.model, saved)
        )
    torch.testing.assert_close(theirs, ours, atol=2e-3, rtol=0)  # it is saved in half precision
    run.loss(0)[0].backward()  # and goes on


def test_half_of_the_heads_look_near_at_first() -> None:
    model = EncoderDecoder(steps=4, seed=0).model
    for stack in (model.encoder, model.decoder):
        bias = stack.block[0].layer[0].SelfAttention.relative_attention_bias.weight
        far, near = bias.chunk(2, dim=1)
        assert not far.any()
        assert (near[1] < near[0]).all()
        assert (near[7] < near[1]).all()
