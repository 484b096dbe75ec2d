"""The microworld's BERT: its words, what is hidden of them, and a Q-Former that starts from it."""

from random import Random

import pytest
import torch
from transformers import AutoModel, AutoModelForMaskedLM, AutoTokenizer

from isthmus.axes import IGNORED_LABEL
from isthmus.connectors._bert import init_from_bert
from isthmus.connectors._qformer_text import TextSide
from isthmus.connectors.qformer import QFormer
from isthmus.microworld import towers
from isthmus.microworld.scene import HELD_OUT
from isthmus.microworld.towers.masked_words import hide
from isthmus.microworld.towers.texts import KINDS, Text, draw_text

FOLDER = str(towers.path("bert"))
TOKENIZER = AutoTokenizer.from_pretrained(FOLDER)


def drawn(kind: str, num: int = 100) -> list[Text]:
    rng = Random(f"tests/{kind}")
    return [draw_text(kind, "test", rng) for _ in range(num)]


def without_blanks(text: str) -> str:
    return text.replace(" ", "")


def test_it_loads_with_and_without_its_head() -> None:
    for auto in (AutoModel, AutoModelForMaskedLM):
        # Models for masked words have no pooler.
        options = {"add_pooling_layer": False} if auto is AutoModel else {}
        model, report = auto.from_pretrained(FOLDER, output_loading_info=True, **options)
        assert not report["missing_keys"]
        assert model.dtype == torch.float16
        assert model.config.vocab_size == len(TOKENIZER)


def test_special_tokens_are_those_of_bert_and_one_for_the_decoder() -> None:
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]"]
    assert TOKENIZER.convert_tokens_to_ids(special) == list(range(6))
    assert TOKENIZER.bos_token == "[DEC]"
    assert TOKENIZER("[DEC] red", add_special_tokens=False).input_ids[0] == 5
    ids = TOKENIZER("red star", "blue moon").input_ids
    assert TOKENIZER.decode(ids) == "[CLS] red star [SEP] blue moon [SEP]"


@pytest.mark.parametrize("kind", KINDS)
def test_texts_of_the_world_come_back_word_by_word(kind: str) -> None:
    for text in drawn(kind):
        for part in [text] if isinstance(text, str) else text:
            ids = TOKENIZER(part, add_special_tokens=False).input_ids
            pieces = TOKENIZER.convert_ids_to_tokens(ids)
            assert "[UNK]" not in pieces
            assert not any(piece.startswith("##") for piece in pieces)
            assert without_blanks(TOKENIZER.decode(ids)) == without_blanks(part)
        assert len(TOKENIZER(*([text] if isinstance(text, str) else text)).input_ids) <= 128


def test_other_words_are_spelt() -> None:
    ids = TOKENIZER("Zoe-red", add_special_tokens=False).input_ids
    assert TOKENIZER.convert_ids_to_tokens(ids) == ["Z", "##o", "##e", "-", "red"]
    assert TOKENIZER.decode(ids) == "Zoe - red"


def test_training_texts_tell_of_no_pair_that_is_held_out() -> None:
    rng = Random(0)
    for text in (draw_text("caption", "train", rng) for _ in range(300)):
        phrases = [phrase.split() for phrase in text.rstrip(".").split("; ")]
        things = [words for words in phrases if words[0] != "sign"]
        assert not {(words[-1], words[1]) for words in things} & HELD_OUT


def test_only_hidden_words_have_labels() -> None:
    torch.manual_seed(0)
    ids = torch.randint(10, 400, (200, 50))
    words = torch.rand(ids.shape) < 0.8
    seen, labels = hide(ids, words, mask=4, vocabulary=411)
    hidden = labels != IGNORED_LABEL
    assert torch.equal(labels[hidden], ids[hidden])
    assert torch.equal(seen[~hidden], ids[~hidden])
    assert not (hidden & ~words).any()
    assert hidden.sum() / words.sum() == pytest.approx(0.15, abs=0.02)
    masked = (seen == 4)[hidden].float().mean().item()
    in_sight = (seen == ids)[hidden].float().mean().item()
    assert masked == pytest.approx(0.8, abs=0.04)
    assert in_sight == pytest.approx(0.1, abs=0.03)


@torch.no_grad()
def test_it_knows_the_grammar_of_captions() -> None:
    model = AutoModelForMaskedLM.from_pretrained(FOLDER, dtype=torch.float32).eval()
    inputs = TOKENIZER("small red [MASK] [MASK]; [MASK] blue solid star.", return_tensors="pt")
    guesses = model(**inputs).logits[inputs.input_ids == TOKENIZER.mask_token_id].topk(2).indices
    fill, shape, size = (set(TOKENIZER.convert_ids_to_tokens(row)) for row in guesses)
    assert fill < {"solid", "striped", "dotted"}
    assert shape < {
        "circle",
        "square",
        "triangle",
        "diamond",
        "star",
        "cross",
        "heart",
        "moon",
        "ring",
    }
    assert size == {"small", "large"}


@torch.no_grad()
def test_a_qformer_that_starts_from_it_reads_as_it_does() -> None:
    bert = AutoModel.from_pretrained(FOLDER, dtype=torch.float32, add_pooling_layer=False).eval()
    config = QFormer.Config(
        num_queries=4,
        depth=4,
        d_hidden=128,
        num_heads=4,
        text=TextSide(vocab_size=len(TOKENIZER), num_positions=128),
    )
    connector = QFormer(config, d_vision=8, d_text=8, grid=(2, 2)).eval()
    init_from_bert(connector, FOLDER)
    inputs = TOKENIZER("large blue solid star.", "What is the star? star", return_tensors="pt")
    words = inputs.attention_mask.bool()[:, None]
    found, _ = connector.body(connector.text(inputs.input_ids), num_queries=0, mask=words)
    torch.testing.assert_close(found, bert(**inputs).last_hidden_state, atol=1e-5, rtol=0)
