"""A Q-Former that starts as a BERT computes what that BERT computes."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import (
    AutoConfig,
    BertConfig,
    BertForMaskedLM,
    BertModel,
    LlamaConfig,
    PreTrainedModel,
)

from isthmus.connectors._bert import init_from_bert
from isthmus.connectors._qformer_text import TextSide
from isthmus.connectors.qformer import QFormer

VOCAB, LENGTH = 30, 7
BERT = BertConfig(
    vocab_size=VOCAB,
    hidden_size=16,
    num_hidden_layers=3,
    num_attention_heads=4,
    intermediate_size=24,
    max_position_embeddings=10,
)
CONFIG = QFormer.Config(
    num_queries=5,
    depth=3,
    d_hidden=16,
    num_heads=4,
    d_ffn=24,
    text=TextSide(vocab_size=VOCAB + 1, num_positions=8),
)
# Two ways of the same sums round differently.
TOLERANCE = 1e-5


def saved(model: PreTrainedModel, folder: Path) -> str:
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(folder)
    return str(folder)


def built(config: QFormer.Config = CONFIG) -> QFormer:
    return QFormer(config, d_vision=12, d_text=20, grid=(2, 2)).eval()


@pytest.mark.parametrize("model_class", [BertModel, BertForMaskedLM])
def test_text_alone_passes_as_in_the_bert(
    model_class: type[PreTrainedModel], tmp_path: Path
) -> None:
    connector = built()
    init_from_bert(connector, saved(model_class(BERT), tmp_path))
    bert = BertModel.from_pretrained(tmp_path).eval()
    # The published Q-Formers have no token types.
    nn.init.zeros_(bert.embeddings.token_type_embeddings.weight)
    ids = torch.randint(0, VOCAB, (2, LENGTH))
    words = torch.ones_like(ids)
    words[1, 5:] = 0
    expected = bert(input_ids=ids, attention_mask=words).last_hidden_state
    found, _ = connector.body(connector.text(ids), num_queries=0, mask=words.bool()[:, None])
    torch.testing.assert_close(found, expected, atol=TOLERANCE, rtol=0)


def test_what_has_no_counterpart_stays(tmp_path: Path) -> None:
    connector = built()
    before = {name: value.clone() for name, value in connector.state_dict().items()}
    init_from_bert(connector, saved(BertModel(BERT), tmp_path))
    after = connector.state_dict()
    kept = {name for name, value in after.items() if torch.equal(value, before[name])}
    apart = ("queries", "patch_norm.", "projection.")
    expected = {name for name in after if "cross_attention" in name or name.startswith(apart)}
    assert kept == expected
    assert torch.equal(after["text.words.weight"][VOCAB], before["text.words.weight"][VOCAB])
    for name, value in after.items():
        if "text_ffn" in name:
            assert torch.equal(value, after[name.replace("text_ffn", "query_ffn")]), name


def test_a_qformer_without_text_starts_as_a_bert_too(tmp_path: Path) -> None:
    folder = saved(BertModel(BERT), tmp_path)
    with_text, without = built(), built(replace(CONFIG, text=None))
    for connector in (with_text, without):
        init_from_bert(connector, folder)
    whole = with_text.state_dict()
    for name, value in without.body.state_dict().items():
        if "cross_attention" not in name:
            assert torch.equal(value, whole[f"body.{name}"]), name


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"depth": 2}, r"qformer\.depth is 2; expected 3, as the BERT"),
        ({"d_hidden": 32, "num_heads": 4}, r"qformer\.d_hidden is 32; expected 16"),
        ({"num_heads": 2}, r"qformer\.num_heads is 2; expected 4"),
        ({"d_ffn": None}, r"qformer\.d_ffn is 64; expected 24"),
        ({"text": TextSide(vocab_size=29, num_positions=8)}, "29 words .* at least 30 words"),
        ({"text": TextSide(vocab_size=30, num_positions=11)}, "at most 10 positions"),
    ],
)
def test_a_bert_of_other_sizes_is_refused(
    change: dict[str, object], message: str, tmp_path: Path
) -> None:
    folder = saved(BertModel(BERT), tmp_path)
    with pytest.raises(ValueError, match=message):
        init_from_bert(built(replace(CONFIG, **change)), folder)


def test_what_is_no_whole_bert_is_refused(tmp_path: Path) -> None:
    LlamaConfig().save_pretrained(tmp_path / "llama")
    with pytest.raises(ValueError, match="holds a 'llama' model; expected a BERT"):
        init_from_bert(built(), str(tmp_path / "llama"))
    folder = tmp_path / "torn"
    saved(BertModel(BERT), folder)
    weights = load_file(folder / "model.safetensors")
    del weights["encoder.layer.1.output.dense.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"lacks weights .*layer\.1\.output\.dense\.weight"):
        init_from_bert(built(), str(folder))
    config = AutoConfig.from_pretrained(folder)
    config.hidden_act = "relu"
    config.save_pretrained(folder)
    with pytest.raises(ValueError, match="has 'relu'; expected 'gelu'"):
        init_from_bert(built(), str(folder))
