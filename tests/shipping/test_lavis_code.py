"""What LAVIS's code cannot build is told with every value that differs, and nothing else is."""

from dataclasses import replace
from typing import Any

import pytest

from isthmus.connectors._qformer_text import TextSide
from isthmus.connectors.qformer import QFormer
from isthmus.shipping._lavis_code import size_notes
from isthmus.shipping.importers._tower import Tower

PUBLISHED = QFormer.Config(text=TextSide())
EVA_CLIP_G = {
    "hidden_size": 1408,
    "intermediate_size": 6144,
    "num_hidden_layers": 39,
    "patch_size": 14,
    "image_size": 224,
}


def notes(
    connector: QFormer.Config = PUBLISHED, d_embedding: int | None = 256, **vision: int
) -> tuple[str, ...]:
    tower = Tower(settings=EVA_CLIP_G | vision, norm_eps=1e-6, weights={})
    return size_notes(connector, tower, d_embedding=d_embedding)


def test_the_published_sizes_need_no_word() -> None:
    assert notes() == ()
    assert notes(replace(PUBLISHED, text=None), d_embedding=None) == ()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"d_ffn": 1024}, "qformer.d_ffn is 1024 (3072)"),
        ({"d_hidden": 960, "d_ffn": 3072}, "qformer.d_hidden is 960 (768)"),
        ({"num_heads": 6}, "qformer.num_heads is 6 (12)"),
        ({"depth": 6}, "qformer.depth is 6 (12)"),
        ({"dropout": 0.0}, "qformer.dropout is 0.0 (0.1)"),
        ({"text": TextSide(vocab_size=9)}, "qformer.text.vocab_size is 9 (30523)"),
        ({"text": TextSide(num_positions=9)}, "qformer.text.num_positions is 9 (512)"),
    ],
)
def test_a_qformer_that_its_code_does_not_build(changes: dict[str, Any], said: str) -> None:
    (note,) = notes(replace(PUBLISHED, **changes))
    assert note.endswith(f"load only once its code is changed: {said}")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"hidden_size": 176}, "the tower's width is 176 (1408)"),
        ({"intermediate_size": 40}, "the tower's inner width is 40 (6144)"),
        ({"num_hidden_layers": 38}, "the tower's depth is 38 (39)"),
        ({"patch_size": 16}, "the tower's patch size is 16 (14)"),
        ({"d_embedding": 12}, "d_embedding is 12 (256)"),
    ],
)
def test_a_tower_or_a_head_that_its_code_does_not_build(changes: dict[str, int], said: str) -> None:
    (note,) = notes(**changes)
    assert note.endswith(f"load only once its code is changed: {said}")


def test_what_its_configuration_can_say() -> None:
    (note,) = notes(replace(PUBLISHED, num_queries=64, cross_attention_every=3), image_size=364)
    assert note == (
        "set in LAVIS's configuration of the model: num_query_token 64, image_size 364, "
        "cross_attention_freq 3"
    )
    # Its second stage does not read the last of them.
    (note,) = notes(replace(PUBLISHED, cross_attention_every=3), d_embedding=None)
    assert note.endswith("is changed: qformer.cross_attention_every is 3 (2)")
