"""The Q-Former: its size, what its rows see, and what it refuses."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from transformers import Blip2QFormerConfig, Blip2QFormerModel

from isthmus import connectors
from isthmus.axes import Instruction, Patches
from isthmus.connectors._qformer_text import TextSide
from isthmus.connectors.qformer import QFormer

D_VISION, D_TEXT, GRID = 12, 20, (3, 4)
BATCH, NUM_QUERIES, LENGTH = 2, 5, 6
TEXT = TextSide(vocab_size=30, num_positions=8)
SMALL = QFormer.Config(num_queries=NUM_QUERIES, depth=3, d_hidden=16, num_heads=4, text=TEXT)

# ViT-g and a language model of 2560, as in BLIP-2 with OPT 2.7B.
PAPER_VISION, PAPER_TEXT = 1408, 2560
# Two ways of the same sums round differently.
TOLERANCE = 1e-5


def built(config: QFormer.Config = SMALL) -> QFormer:
    """A Q-Former in which everything matters: matrices of some size, biases not zero."""
    connector = QFormer(config, d_vision=D_VISION, d_text=D_TEXT, grid=GRID).eval()
    for parameter in connector.parameters():
        nn.init.normal_(parameter, std=0.3)
    return connector


def patches(mask: Tensor | None = None) -> Patches:
    features = torch.randn(BATCH, GRID[0] * GRID[1], D_VISION)
    return Patches(features=features, grid=GRID, mask=mask)


def instruction() -> Instruction:
    ids = torch.randint(1, TEXT.vocab_size, (BATCH, LENGTH))
    words = torch.ones_like(ids)
    words[1, 4:] = 0
    return Instruction(input_ids=ids, attention_mask=words)


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(("has_text", "body"), [(False, 105_137_664), (True, 161_825_280)])
def test_the_size_is_the_papers(has_text: bool, body: int) -> None:
    text = TextSide() if has_text else None
    with torch.device("meta"):
        ours = QFormer.Config(text=text).build(d_vision=PAPER_VISION, d_text=PAPER_TEXT, grid=GRID)
        theirs = Blip2QFormerModel(
            Blip2QFormerConfig(encoder_hidden_size=PAPER_VISION, use_qformer_text_input=has_text)
        )
    assert count(ours.body) == count(theirs) == body
    tables = (30523 + 512) * 768 if has_text else 0
    queries, norm, projection = 32 * 768, 2 * PAPER_VISION, 768 * PAPER_TEXT + PAPER_TEXT
    assert count(ours) == body + tables + queries + norm + projection


def test_fresh_weights_are_berts() -> None:
    connector = QFormer(replace(SMALL, d_hidden=64), d_vision=D_VISION, d_text=D_TEXT, grid=GRID)
    for name, parameter in connector.named_parameters():
        if name.endswith("bias"):
            assert not parameter.any(), name
        elif "norm" in name:
            assert (parameter == 1).all(), name
        else:
            assert 0.015 < parameter.std() < 0.025, name


def test_the_configuration_survives_json_with_its_text_side() -> None:
    assert connectors.from_dict(SMALL.to_dict()) == SMALL
    assert connectors.from_dict({"kind": "qformer"}) == QFormer.Config()


@pytest.mark.parametrize(("every", "expected"), [(1, [0, 1, 2]), (2, [0, 2]), (3, [0])])
def test_the_first_of_so_many_layers_reads_the_patches(every: int, expected: list[int]) -> None:
    connector = built(replace(SMALL, cross_attention_every=every))
    image = connector.body.read(patches().features)
    assert [index for index, answer in enumerate(image) if answer is not None] == expected


def test_padded_patches_are_not_seen() -> None:
    mask = torch.ones(BATCH, *GRID, dtype=torch.bool)
    mask[1, 2:] = False
    mask[1, :, 3:] = False
    connector, padded = built(), patches(mask.flatten(1))
    cut = Patches(
        features=padded.features[1].reshape(*GRID, D_VISION)[None, :2, :3].flatten(1, 2),
        grid=(2, 3),
    )
    together = connector(padded)
    torch.testing.assert_close(together[1:], connector(cut), atol=TOLERANCE, rtol=0)
    assert not torch.allclose(connector(replace(padded, mask=None))[1], together[1])


def test_the_words_of_an_instruction_matter_and_its_padding_does_not() -> None:
    connector, image, asked = built(), patches(), instruction()
    tokens = connector(image, asked)
    assert tokens.shape == (BATCH, NUM_QUERIES, D_TEXT)
    assert not torch.allclose(tokens, connector(image))
    padded, worded = asked.input_ids.clone(), asked.input_ids.clone()
    padded[1, 5] += 1 - 2 * (padded[1, 5] == TEXT.vocab_size - 1)
    worded[1, 3] += 1 - 2 * (worded[1, 3] == TEXT.vocab_size - 1)
    assert torch.equal(connector(image, replace(asked, input_ids=padded)), tokens)
    changed = connector(image, replace(asked, input_ids=worded))
    assert torch.equal(changed[0], tokens[0])
    assert not torch.allclose(changed[1], tokens[1])


def test_text_that_goes_on_from_the_queries_is_one_pass_under_a_mask() -> None:
    connector, asked = built(), instruction()
    image = connector.body.read(patches().features)
    queries = connector.queries.expand(BATCH, -1, -1)
    text = connector.text(asked.input_ids)
    rows = NUM_QUERIES + LENGTH
    # UniLM's mask: queries see queries, a word sees them and the words up to itself.
    seen = torch.ones(rows, rows, dtype=torch.bool).tril()
    seen[:NUM_QUERIES, :NUM_QUERIES] = True
    whole, _ = connector.body(
        torch.cat([queries, text], dim=1),
        num_queries=NUM_QUERIES,
        mask=seen.expand(BATCH, -1, -1),
        image=image,
    )
    parts, past = [], None
    for states, mask in (
        (queries, None),
        (text[:, :4], seen[NUM_QUERIES : NUM_QUERIES + 4, : NUM_QUERIES + 4]),
        (text[:, 4:], seen[NUM_QUERIES + 4 :]),
    ):
        part, past = connector.body(
            states,
            num_queries=0 if parts else NUM_QUERIES,
            mask=None if mask is None else mask[None],
            image=None if parts else image,
            past=past,
        )
        parts.append(part)
    torch.testing.assert_close(torch.cat(parts, dim=1), whole, atol=TOLERANCE, rtol=0)


def test_passes_over_an_image_can_share_what_it_answers() -> None:
    connector, features = built(), patches().features
    chosen = torch.tensor([1, 0, 1])
    queries = connector.queries.expand(len(chosen), -1, -1)
    apart, _ = connector.body(
        queries, num_queries=NUM_QUERIES, image=connector.body.read(features[chosen])
    )
    shared = [
        None if answer is None else (answer[0][chosen], answer[1][chosen])
        for answer in connector.body.read(features)
    ]
    together, _ = connector.body(queries, num_queries=NUM_QUERIES, image=shared)
    torch.testing.assert_close(together, apart, atol=TOLERANCE, rtol=0)


def test_every_parameter_of_the_text_side_gets_a_gradient() -> None:
    connector = built()
    connector(patches(), instruction()).square().sum().backward()
    # The words stand for nothing in the end, so what only they pass in the last layer is idle.
    idle = [name for name, p in connector.named_parameters() if p.grad is None or not p.grad.any()]
    assert {name.rsplit(".", 2)[0] for name in idle} == {"body.layers.2.text_ffn"}


def test_dropout_acts_in_training_alone() -> None:
    connector, image = built(), patches()
    assert torch.equal(connector(image), connector(image))
    connector.train()
    assert not torch.allclose(connector(image), connector(image))
    still = built(replace(SMALL, dropout=0.0)).train()
    assert torch.equal(still(image), still(image))


def test_what_is_not_there_cannot_be_used() -> None:
    without = built(replace(SMALL, text=None))
    with pytest.raises(ValueError, match=r"Q-Former without a text side; set qformer\.text"):
        without(patches(), instruction())
    with pytest.raises(ValueError, match="3 rows of text in a Q-Former that has no text side"):
        without.body(torch.zeros(1, 3, 16), num_queries=0)
    with pytest.raises(ValueError, match="5 queries have no image to read"):
        built().body(torch.zeros(1, 5, 16), num_queries=5)
    long = torch.ones(BATCH, 9, dtype=torch.int64)
    with pytest.raises(ValueError, match="9 tokens does not fit the 8 positions"):
        built()(patches(), Instruction(input_ids=long, attention_mask=long))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"num_queries": 0}, "qformer.num_queries is 0; expected 1 or more"),
        ({"cross_attention_every": 0}, "qformer.cross_attention_every is 0"),
        ({"d_ffn": 0}, "qformer.d_ffn is 0; expected 1 or more, or None"),
        ({"num_heads": 5}, "qformer.d_hidden is 768; expected a multiple of .* which is 5"),
        ({"dropout": 1.0}, "qformer.dropout is 1.0; expected 0 or more, and less than 1"),
        ({"text": {"vocab_size": 0}}, "qformer.text.vocab_size is 0; expected 1 or more"),
    ],
)
def test_settings_that_cannot_be_are_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        QFormer.Config.from_dict(fields)
