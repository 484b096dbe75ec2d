"""The D-Abstractor: where its queries start, what they start from, and how it can be run."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers.initialization import guard_torch_init_functions

from isthmus import IsthmusForConditionalGeneration
from isthmus.axes import Patches
from isthmus.connectors._deformable import DeformableAttention
from isthmus.connectors.d_abstractor import DAbstractor
from tests.tiny import tiny_model

GRID = (4, 6)
D_VISION, D_TEXT = 16, 20


def built(grid: tuple[int, int] = GRID, **settings: object) -> DAbstractor:
    small = {"num_queries": 4, "depth": 2, "num_heads": 2}
    config = DAbstractor.Config.from_dict({**small, **settings})
    connector = config.build(d_vision=D_VISION, d_text=D_TEXT, grid=grid)
    assert isinstance(connector, DAbstractor)
    return connector


def patches(images: int = 2, grid: tuple[int, int] = GRID) -> Patches:
    return Patches(features=torch.randn(images, grid[0] * grid[1], D_VISION), grid=grid)


def test_reference_points_start_on_the_published_grid() -> None:
    with torch.no_grad():
        points = built((16, 16), num_queries=144).reference_points.reshape(12, 12, 2)
    torch.testing.assert_close(points[0, 0], torch.tensor([0.03125, 0.03125]))
    torch.testing.assert_close(points[-1, -1], torch.tensor([0.96875, 0.96875]))
    # x before y, row by row: along a row only x grows.
    steps = points[0, 1:] - points[0, :-1]
    expected = torch.tensor([0.9375 / 11, 0.0]).expand(11, 2)
    torch.testing.assert_close(steps, expected, atol=1e-6, rtol=0)


def test_reference_points_lie_on_any_grid() -> None:
    points = built((4, 10), num_queries=3, query_grid=[1, 3]).reference_points
    torch.testing.assert_close(
        points.detach(), torch.tensor([[0.05, 0.5], [0.5, 0.5], [0.95, 0.5]])
    )


def test_reference_points_may_start_in_the_middle() -> None:
    assert (built(reference_points="centre").reference_points == 0.5).all()


def test_fixed_points_are_kept_but_not_trained() -> None:
    fixed, learned = built(learn_points=False), built()
    assert "reference_points" in dict(learned.named_parameters())
    assert "reference_points" not in dict(fixed.named_parameters())
    assert torch.equal(fixed.state_dict()["reference_points"], learned.reference_points)


@pytest.mark.parametrize("learn_points", [True, False])
def test_a_saved_model_keeps_its_points(tmp_path: Path, learn_points: bool) -> None:
    config = DAbstractor.Config(
        num_queries=4, depth=1, num_heads=2, learn_points=learn_points,
        initialization="deformable_detr",
    )  # fmt: skip
    model, _ = tiny_model(tmp_path / "towers", connector=config)
    connector = model.model.connector
    with torch.no_grad():
        connector.reference_points.add_(0.1)
        connector.layers[0].deformable_attention.offsets.bias.add_(0.3)
    model.save_pretrained(tmp_path / "model")
    again = IsthmusForConditionalGeneration.from_pretrained(tmp_path / "model").model.connector
    for name, value in connector.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name


@pytest.mark.parametrize("learn_points", [True, False])
def test_what_a_checkpoint_gave_is_not_drawn_over(learn_points: bool) -> None:
    connector = built(learn_points=learn_points, initialization="deformable_detr")
    attention = connector.layers[0].deformable_attention
    # As transformers marks what it has loaded.
    for given in (connector.reference_points, attention.offsets.bias):
        given.data += 0.1
        given._is_hf_initialized = True
    before = {name: value.clone() for name, value in connector.state_dict().items()}
    with guard_torch_init_functions():
        connector.reset_parameters()
    after = connector.state_dict()
    for name in ("reference_points", "layers.0.deformable_attention.offsets.bias"):
        assert torch.equal(after[name], before[name])
    assert not torch.equal(after["queries"], before["queries"])


@pytest.mark.parametrize("start", ["honeybee", "deformable_detr"])
def test_the_points_start_as_the_setting_says(start: str) -> None:
    # Built and drawn again, as a model is that was built without memory.
    connector = built(initialization=start)
    connector.reset_parameters()
    for part in connector.modules():
        if isinstance(part, DeformableAttention):
            assert (part.offsets.bias.abs().max() > 3.9) == (start == "deformable_detr")
            assert (part.offsets.weight.abs().max() > 0) == (start == "honeybee")


@pytest.mark.parametrize("pooled", ["query", "target", "none"])
def test_pooled_queries_follow_the_image_at_their_place(pooled: str) -> None:
    connector = built((2, 4), num_queries=2, query_grid=[1, 2], pooled=pooled, positions=False)
    features = torch.zeros(1, 8, D_VISION)
    features[0, [2, 3, 6, 7]] = 1.0  # the right half
    starts = connector._first_queries(features, (2, 4))
    positions, held = (start[0] for start in starts)
    halves = torch.stack([torch.zeros(D_VISION), torch.ones(D_VISION)])
    assert torch.equal(positions, halves) == (pooled == "query")
    assert torch.equal(held, halves) == (pooled == "target")
    learned = {"query": held, "target": positions, "none": torch.cat([positions, held], dim=-1)}
    assert torch.equal(learned[pooled], connector.queries)


def test_of_several_levels_the_first_is_pooled_and_all_are_looked_at() -> None:
    connector = built(num_levels=2, num_heads=1).eval()
    features = patches().features
    other = features.clone()
    other[..., D_VISION // 2 :] += torch.randn(D_VISION // 2)

    def tokens(features: Tensor) -> Tensor:
        return connector(Patches(features=features, grid=GRID))

    assert not torch.equal(tokens(features), tokens(other))
    for layer in connector.layers:
        # All weight is on the points of the first level.
        bias = layer.deformable_attention.weights.bias.data.reshape(2, 4)
        bias[1] = -torch.inf
    torch.testing.assert_close(tokens(features), tokens(other))
    other = features.clone()
    other[..., : D_VISION // 2] += torch.randn(D_VISION // 2)
    assert not torch.allclose(tokens(features), tokens(other))


def test_widths_that_cannot_be_shared_out_are_named() -> None:
    with pytest.raises(ValueError, match=r"patch is 16; expected a multiple of .*num_levels, 3"):
        built(num_levels=3)
    with pytest.raises(ValueError, match=r"d_hidden\) is 16; expected a multiple of .*heads, 5"):
        built(num_heads=5)


@pytest.mark.parametrize("use_reentrant", [True, False])
def test_recomputed_gradients_are_the_same(use_reentrant: bool) -> None:
    connector, batch = built(num_eos_tokens=1).train(), patches()

    def gradients(recompute: bool) -> list[Tensor]:
        features = batch.features.clone().requires_grad_()
        connector.zero_grad()
        torch.manual_seed(3)  # of the dropout

        def run(features: Tensor) -> Tensor:
            return connector(Patches(features=features, grid=GRID))

        tokens = (
            checkpoint(run, features, use_reentrant=use_reentrant) if recompute else run(features)
        )
        tokens.square().sum().backward()
        found = [features.grad, *(parameter.grad for parameter in connector.parameters())]
        return [gradient.clone() for gradient in found if gradient is not None]

    expected = gradients(recompute=False)
    assert len(expected) == 1 + len(list(connector.parameters()))
    for found, gradient in zip(gradients(recompute=True), expected, strict=True):
        assert torch.equal(found, gradient)


def test_under_autocast_it_is_near() -> None:
    connector, batch = built().eval(), patches()
    exact = connector(batch)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = connector(batch)
    assert (rounded.float() - exact).abs().max() < 0.05 * exact.abs().max()


def test_equal_widths_need_no_map_between_them() -> None:
    config = DAbstractor.Config(num_queries=4, d_hidden=D_TEXT, num_heads=2, depth=1)
    connector = config.build(d_vision=D_VISION, d_text=D_TEXT, grid=GRID)
    assert isinstance(connector.projection, nn.Identity)
    assert [type(each) for each in connector.projections] == [nn.Linear]
    assert [type(each) for each in built().projections] == [nn.Identity]
