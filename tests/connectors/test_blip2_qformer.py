"""A connector that starts from a published Q-Former computes what that one computes."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from transformers import Blip2QFormerConfig, Blip2QFormerModel

from isthmus.axes import Patches
from isthmus.connectors._qformer_names import BESIDE_FILE
from isthmus.connectors._qformer_text import TextSide
from isthmus.connectors.qformer import QFormer

D_VISION, D_TEXT = 12, 20
CONFIG = QFormer.Config(num_queries=5, depth=3, d_hidden=16, num_heads=4, d_ffn=24)


def saved(folder: Path, **settings: object) -> Blip2QFormerModel:
    theirs = Blip2QFormerConfig(
        hidden_size=16,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=24,
        encoder_hidden_size=D_VISION,
        cross_attention_frequency=2,
        **settings,
    )
    model = Blip2QFormerModel(theirs).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(folder)
    return model


def built(config: QFormer.Config = CONFIG, d_text: int = D_TEXT) -> QFormer:
    return QFormer(config, d_vision=D_VISION, d_text=d_text, grid=(2, 2)).eval()


def test_the_body_computes_the_same(tmp_path: Path) -> None:
    stock, ours = saved(tmp_path), built()
    before = {name: value.clone() for name, value in ours.state_dict().items()}
    ours.start_from(str(tmp_path))
    states = torch.randn(2, 4, D_VISION)
    with torch.no_grad():
        expected = stock(
            query_embeds=ours.fresh_queries(2), encoder_hidden_states=ours.patch_norm(states)
        ).last_hidden_state
        torch.testing.assert_close(
            ours(Patches.of_states(states, (2, 2))), ours.projection(expected), atol=1e-5, rtol=1e-5
        )
    kept = [n for n in before if not n.startswith("body.")]
    assert all(torch.equal(before[name], ours.state_dict()[name]) for name in kept)


@pytest.mark.parametrize("d_text", [D_TEXT, 7])
def test_what_we_wrote_beside_it_comes_back(d_text: int, tmp_path: Path) -> None:
    saved(tmp_path)
    beside = {
        "query_tokens": torch.randn(1, 5, 16),
        "ln_vision.weight": torch.randn(D_VISION),
        "ln_vision.bias": torch.randn(D_VISION),
        "language_projection.weight": torch.randn(D_TEXT, 16),
        "language_projection.bias": torch.randn(D_TEXT),
        "itm_head.weight": torch.randn(2, 16),
    }
    save_file(beside, tmp_path / BESIDE_FILE)
    ours = built(d_text=d_text)
    ours.start_from(str(tmp_path))
    assert torch.equal(ours.queries, beside["query_tokens"][0])
    assert torch.equal(ours.patch_norm.weight, beside["ln_vision.weight"])
    taken = d_text == D_TEXT and torch.equal(
        ours.projection.weight, beside["language_projection.weight"]
    )
    assert taken == (d_text == D_TEXT)


def test_a_qformer_that_reads_text_fills_the_text_side_too(tmp_path: Path) -> None:
    stock = saved(tmp_path, use_qformer_text_input=True)
    ours = built(replace(CONFIG, text=TextSide(vocab_size=30, num_positions=9)))
    ours.start_from(str(tmp_path))
    theirs = stock.encoder.layer[1].intermediate.dense.weight
    assert torch.equal(ours.body.layers[1].text_ffn.inner.weight, theirs)
    alone = built()
    alone.start_from(str(tmp_path))  # what it has no place for is left out


def test_another_size_is_refused(tmp_path: Path) -> None:
    saved(tmp_path)
    with pytest.raises(ValueError, match=r"qformer.depth is 2; expected 3, as the Q-Former in"):
        built(replace(CONFIG, depth=2)).start_from(str(tmp_path))
    with pytest.raises(
        ValueError, match=r"cross_attention.key.weight of shape \(16, 12\), which is"
    ):
        QFormer(CONFIG, d_vision=9, d_text=D_TEXT, grid=(2, 2)).start_from(str(tmp_path))
    reads = replace(CONFIG, text=TextSide(vocab_size=30, num_positions=9))
    with pytest.raises(ValueError, match=r"text_ffn.* it reads no text: set qformer.text to None"):
        built(reads).start_from(str(tmp_path))
