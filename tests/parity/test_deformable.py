"""Deformable attention and its decoder equal those of transformers, outputs and gradients."""

from collections.abc import Callable, Iterable

import pytest
import torch
from torch import Tensor, nn
from transformers import DeformableDetrConfig, ResNetConfig
from transformers.models.deformable_detr.modeling_deformable_detr import (
    DeformableDetrDecoder,
    DeformableDetrMultiscaleDeformableAttention,
)

from isthmus.connectors._decoder_layer import DecoderLayer
from isthmus.connectors._deformable import DeformableAttention
from isthmus.keys import KeyMap
from isthmus.shipping.importers.honeybee import D_ABSTRACTOR

WIDTH, NUM_HEADS, NUM_POINTS, D_FFN, DEPTH = 32, 4, 3, 40, 2
IMAGES, NUM_QUERIES = 2, 7
# In float64, where two ways of the same sums differ by next to nothing.
TOLERANCE = 1e-10

every_size = pytest.mark.parametrize(
    ("grid", "levels"), [((5, 5), 1), ((3, 7), 1), ((6, 2), 2)], ids=str
)


def published_config(levels: int) -> DeformableDetrConfig:
    return DeformableDetrConfig(
        backbone_config=ResNetConfig(),
        d_model=WIDTH,
        decoder_layers=DEPTH,
        decoder_attention_heads=NUM_HEADS,
        decoder_n_points=NUM_POINTS,
        decoder_ffn_dim=D_FFN,
        num_feature_levels=levels,
    )


def published_attention(levels: int) -> DeformableDetrMultiscaleDeformableAttention:
    config = published_config(levels)
    return DeformableDetrMultiscaleDeformableAttention(config, NUM_HEADS, NUM_POINTS)


def our_attention(levels: int) -> DeformableAttention:
    sizes = {"num_heads": NUM_HEADS, "num_points": NUM_POINTS, "num_levels": levels}
    return DeformableAttention(WIDTH, **sizes)


class OurDecoder(nn.Module):
    """The layers of a D-Abstractor alone."""

    def __init__(self, levels: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            DecoderLayer(
                WIDTH,
                d_ffn=D_FFN,
                num_heads=NUM_HEADS,
                num_points=NUM_POINTS,
                num_levels=levels,
                dropout=0.1,
            )
            for _ in range(DEPTH)
        )


# The modules of transformers 5 that have another name than those of Honeybee's time.
NEWER = {".self_attn.out_proj.": ".self_attn.o_proj.", ".fc": ".mlp.fc"}


def newer(name: str) -> str:
    for old, new in NEWER.items():
        name = name.replace(old, new)
    return name


DECODER = KeyMap(tuple((newer(theirs), ours) for theirs, ours in D_ABSTRACTOR.pairs))
ATTENTION = KeyMap(
    tuple(
        (theirs.removeprefix("layers.*.encoder_attn."), ours.rpartition("attention.")[2])
        for theirs, ours in D_ABSTRACTOR.pairs
        if ".encoder_attn." in theirs
    )
)


def inputs(grid: tuple[int, int], levels: int) -> dict[str, Tensor]:
    given = {
        "queries": torch.randn(IMAGES, NUM_QUERIES, WIDTH),
        "positions": torch.randn(IMAGES, NUM_QUERIES, WIDTH),
        # Some of them outside the map.
        "points": 1.2 * torch.rand(NUM_QUERIES, 2) - 0.1,
        "features": torch.randn(IMAGES, levels * grid[0] * grid[1], WIDTH),
    }
    return {name: value.double().requires_grad_() for name, value in given.items()}


def maps(grid: tuple[int, int], levels: int) -> dict[str, object]:
    cells = grid[0] * grid[1]
    return {
        "spatial_shapes": torch.tensor([grid] * levels),
        "spatial_shapes_list": [grid] * levels,
        "level_start_index": torch.arange(levels) * cells,
    }


def disturb(module: nn.Module) -> None:
    """Gives all weights sizes that matter, and offsets of some cells."""
    for name, parameter in module.named_parameters():
        spread = 1.0 if "sampling_offsets.bias" in name else 0.3
        parameter.data += spread * torch.randn_like(parameter)


def gradients(output: Tensor, parameters: Iterable[Tensor]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(5)
    cotangent = torch.randn(output.shape, dtype=output.dtype, generator=generator)
    return list(torch.autograd.grad((output * cotangent).sum(), list(parameters)))


def assert_equal(
    theirs: tuple[nn.Module, Callable[[], Tensor]],
    ours: tuple[nn.Module, Callable[[], Tensor]],
    names: KeyMap,
    given: list[Tensor],
) -> None:
    """Outputs, and gradients of the inputs and of every parameter."""
    published, run_published = theirs
    module, run = ours
    disturb(published.double())
    module.double().load_state_dict(names.to_ours(published.state_dict()))
    expected, found = run_published(), run()
    assert expected.std() > 0.1
    torch.testing.assert_close(found, expected, atol=TOLERANCE, rtol=TOLERANCE)
    renamed = names.to_ours(dict(published.named_parameters()))
    own = dict(module.named_parameters())
    assert renamed.keys() == own.keys()
    wanted = gradients(expected, [*given, *(renamed[name] for name in own)])
    for one, other in zip(gradients(found, [*given, *own.values()]), wanted, strict=True):
        allowed = TOLERANCE * max(1.0, other.abs().max().item())
        torch.testing.assert_close(one, other, atol=allowed, rtol=0)


@every_size
def test_the_attention_is_that_of_transformers(grid: tuple[int, int], levels: int) -> None:
    published, attention = published_attention(levels), our_attention(levels)
    given = inputs(grid, levels)

    def run_published() -> Tensor:
        points = given["points"][None, :, None].expand(IMAGES, -1, levels, -1)
        return published(
            given["queries"],
            encoder_hidden_states=given["features"],
            position_embeddings=given["positions"],
            reference_points=points,
            **maps(grid, levels),
        )[0]

    def run() -> Tensor:
        asking = given["queries"] + given["positions"]
        return attention(asking, given["points"], given["features"], grid)

    assert_equal((published, run_published), (attention, run), ATTENTION, list(given.values()))


@every_size
@pytest.mark.parametrize("training", [False, True], ids=["eval", "training"])
def test_the_decoder_is_that_of_transformers(
    grid: tuple[int, int], levels: int, training: bool
) -> None:
    published, decoder = DeformableDetrDecoder(published_config(levels)), OurDecoder(levels)
    published.train(training)
    decoder.train(training)
    given = inputs(grid, levels)

    def run_published() -> Tensor:
        torch.manual_seed(9)  # of the dropout
        return published(
            inputs_embeds=given["queries"],
            encoder_hidden_states=given["features"],
            object_queries_position_embeddings=given["positions"],
            reference_points=given["points"].expand(IMAGES, -1, -1),
            valid_ratios=torch.ones(IMAGES, levels, 2, dtype=torch.float64),
            **maps(grid, levels),
        ).last_hidden_state

    def run() -> Tensor:
        torch.manual_seed(9)
        queries = given["queries"]
        for layer in decoder.layers:
            queries = layer(queries, given["positions"], given["points"], given["features"], grid)
        return queries

    assert_equal((published, run_published), (decoder, run), DECODER, list(given.values()))


@pytest.mark.parametrize("levels", [1, 2])
def test_spread_points_start_where_those_of_transformers_do(levels: int) -> None:
    published = DeformableDetrDecoder(published_config(levels)).layers[0].encoder_attn
    expected = ATTENTION.to_ours(published.state_dict())
    attention = our_attention(levels)
    attention.spread_points()
    for name, value in attention.state_dict().items():
        if name in ("value.weight", "output.weight"):  # drawn, both from one range
            bound = (6 / (2 * WIDTH)) ** 0.5
            for drawn in (value, expected[name]):
                assert 0.95 * bound < drawn.abs().max() <= bound
        else:
            torch.testing.assert_close(value, expected[name], atol=1e-6, rtol=0)
