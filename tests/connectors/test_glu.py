"""CogVLM's adapter: its size, its order of tokens, and the grids it refuses."""

import pytest
import torch
from torch import nn
from transformers import AutoModel, LlamaConfig

from isthmus.axes import Patches
from isthmus.connectors.glu import GLU

D_VISION, D_TEXT = 6, 8
# Two ways of the same sums round differently; these are in float64.
TOLERANCE = 1e-12


def built(config: GLU.Config, grid: tuple[int, int]) -> GLU:
    connector = GLU(config, d_vision=D_VISION, d_text=D_TEXT, grid=grid)
    for parameter in connector.parameters():
        nn.init.normal_(parameter)
    return connector.double()


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        # 1792 -> 4096, a norm, three matrices of 4096 x 11008, two vectors.
        (GLU.Config(), 142_622_720),
        # Besides, a convolution of 1792 x 1792 x 2 x 2; Llama 3's inner width is 14336.
        (GLU.Config(downsample=True, d_hidden=14336), 196_364_032),
    ],
    ids=["cogvlm", "cogvlm2"],
)
def test_the_size_is_the_papers(config: GLU.Config, expected: int) -> None:
    with torch.device("meta"):
        connector = config.build(d_vision=1792, d_text=4096, grid=(96, 96))
    assert sum(parameter.numel() for parameter in connector.parameters()) == expected


def test_the_tokens_of_an_image_are_the_papers() -> None:
    assert GLU.Config().num_tokens((35, 35)) == 1 + 1225 + 1
    assert GLU.Config(downsample=True).num_tokens((96, 96)) == 1 + 2304 + 1
    assert GLU.Config(boi_eoi=False).num_tokens((2, 3)) == 6
    assert GLU.Config().boundaries == (1, 1)
    assert GLU.Config(boi_eoi=False).boundaries == (0, 0)


def test_each_block_of_four_becomes_the_token_at_its_place() -> None:
    rows, columns = 4, 6
    connector = built(GLU.Config(downsample=True), (rows, columns))
    features = torch.randn(1, rows * columns, D_VISION, dtype=torch.float64)
    tokens = connector(Patches(features=features, grid=(rows, columns)))
    assert torch.equal(tokens[0, 0], connector.boi)
    assert torch.equal(tokens[0, -1], connector.eoi)
    cells = features[0].reshape(rows, columns, D_VISION)
    for row, column in ((0, 0), (0, 2), (1, 1)):
        block = cells[2 * row : 2 * row + 2, 2 * column : 2 * column + 2].reshape(1, 4, D_VISION)
        alone = connector(Patches(features=block, grid=(2, 2)))[0, 1]
        place = 1 + row * columns // 2 + column
        torch.testing.assert_close(tokens[0, place], alone, atol=TOLERANCE, rtol=TOLERANCE)


def test_frames_of_a_clip_are_joined_each_on_its_own() -> None:
    connector = built(GLU.Config(downsample=True, boi_eoi=False), (2, 4))
    features = torch.randn(2, 3 * 8, D_VISION, dtype=torch.float64)
    clip = connector(Patches(features=features, grid=(2, 4), num_frames=3))
    frames = connector(Patches(features=features.reshape(6, 8, D_VISION), grid=(2, 4)))
    torch.testing.assert_close(clip, frames.reshape(2, 6, D_TEXT), atol=TOLERANCE, rtol=TOLERANCE)


def test_the_vectors_around_the_image_learn_from_zero() -> None:
    connector = built(GLU.Config(), (2, 2))
    for vector in (connector.boi, connector.eoi):
        nn.init.zeros_(vector)
    tokens = connector(
        Patches(features=torch.randn(3, 4, D_VISION, dtype=torch.float64), grid=(2, 2))
    )
    weights = torch.randn_like(tokens)
    (tokens * weights).sum().backward()
    torch.testing.assert_close(connector.boi.grad, weights[:, 0].sum(0))
    torch.testing.assert_close(connector.eoi.grad, weights[:, -1].sum(0))


@pytest.mark.parametrize("start", ["fresh", "zero"])
def test_fresh_vectors_around_the_image_leave_the_other_weights_their_gradient(start: str) -> None:
    """At zero, as published, the language model's first norm is too steep for that."""
    settings = LlamaConfig(
        vocab_size=50,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        rms_norm_eps=1e-6,
    )
    body = AutoModel.from_config(settings).requires_grad_(False)
    connector = GLU.Config().build(d_vision=D_VISION, d_text=64, grid=(3, 3))
    if start == "zero":
        nn.init.zeros_(connector.boi)
        nn.init.zeros_(connector.eoi)
    image = connector(Patches(features=torch.randn(8, 9, D_VISION), grid=(3, 3)))
    words = body.get_input_embeddings()(torch.randint(0, 50, (8, 6)))
    states = body(inputs_embeds=torch.cat([image, words], dim=1)).last_hidden_state[:, -6:]
    (states * torch.randn_like(states)).sum().backward()
    norms = {name: p.grad.norm() for name, p in connector.named_parameters()}
    around = torch.stack([norms.pop("boi"), norms.pop("eoi")]).norm()
    others = torch.stack(list(norms.values())).norm()
    assert (around > 2 * others) == (start == "zero")


@pytest.mark.parametrize("grid", [(3, 4), (4, 3), (35, 35)])
def test_odd_grids_do_not_divide_into_blocks(grid: tuple[int, int]) -> None:
    config = GLU.Config(downsample=True)
    message = f"2 x 2 patches, which a grid of {grid[0]} x {grid[1]} does not divide into"
    with pytest.raises(ValueError, match=message):
        config.num_tokens(grid)
    features = torch.zeros(1, grid[0] * grid[1], D_VISION, dtype=torch.float64)
    with pytest.raises(ValueError, match=message):
        built(config, (4, 4))(Patches(features=features, grid=grid))


def test_a_width_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match=r"glu\.d_hidden is 0; expected 1 or more, or None"):
        GLU.Config(d_hidden=0)
