"""What every connector promises; a new file in the folder is tested at once."""

from dataclasses import fields, replace

import pytest
import torch
from safetensors.torch import load, save
from torch import nn

from isthmus import connectors
from isthmus.axes import Patches
from isthmus.connectors import Connector, ConnectorConfig

GRIDS = [(4, 4), (2, 6)]
D_VISION, D_TEXT = 12, 20

# A batch may use other kernels than a single image; both are right to the last few bits.
BATCH_TOLERANCE = 1e-5
# bfloat16 keeps 8 bits: one part in 256 per operation, a few operations deep.
BFLOAT16_TOLERANCE = 0.05

# Small counts make small tensors; a field that a connector lacks is left alone.
SMALL = {"num_latents": 5, "depth": 2, "num_heads": 2, "d_head": 6}


def small(kind: str) -> ConnectorConfig:
    config = connectors.default(kind)
    known = {field.name for field in fields(config)} & set(SMALL)
    return replace(config, **{name: SMALL[name] for name in known})


def variants() -> list[ConnectorConfig]:
    """Each kind once small, and once with every switch turned over."""
    found = []
    for kind in connectors.names():
        config = small(kind)
        switches = {
            field.name: not getattr(config, field.name)
            for field in fields(config)
            if isinstance(getattr(config, field.name), bool)
        }
        found += [config, replace(config, **switches)] if switches else [config]
    return found


def build(config: ConnectorConfig, grid: tuple[int, int] = GRIDS[0]) -> Connector:
    return config.build(d_vision=D_VISION, d_text=D_TEXT, grid=grid).eval()


def patches(images: int, grid: tuple[int, int] = GRIDS[0]) -> Patches:
    return Patches(features=torch.randn(images, grid[0] * grid[1], D_VISION), grid=grid)


every_variant = pytest.mark.parametrize("config", variants(), ids=lambda config: str(config))
every_grid = pytest.mark.parametrize("grid", GRIDS, ids=str)


@every_variant
@every_grid
@pytest.mark.parametrize("images", [0, 1, 3])
def test_tokens_are_as_many_as_the_configuration_says(
    config: ConnectorConfig, grid: tuple[int, int], images: int
) -> None:
    tokens = build(config, grid)(patches(images, grid))
    assert tokens.shape == (images, config.num_tokens(grid), D_TEXT)


@every_variant
def test_every_parameter_gets_a_gradient(config: ConnectorConfig) -> None:
    connector = build(config)
    connector(patches(3)).square().sum().backward()
    for name, parameter in connector.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


@every_variant
def test_images_of_a_batch_do_not_see_each_other(config: ConnectorConfig) -> None:
    connector, batch = build(config), patches(3)
    together = connector(batch)
    for index in range(3):
        alone = connector(Patches(features=batch.features[index : index + 1], grid=batch.grid))
        torch.testing.assert_close(together[index], alone[0], atol=BATCH_TOLERANCE, rtol=0)
    others = batch.features.clone()
    others[0] += 1
    changed = connector(Patches(features=others, grid=batch.grid))
    assert not torch.equal(changed[0], together[0])


@every_variant
def test_tokens_differ_from_each_other_at_the_start(config: ConnectorConfig) -> None:
    tokens = build(config)(patches(1))[0]
    assert torch.pdist(tokens).min() > 1e-4


@every_variant
def test_a_saved_connector_is_the_same_to_the_bit(config: ConnectorConfig) -> None:
    connector, batch = build(config), patches(2)
    again = build(connectors.from_dict(config.to_dict()))
    assert not torch.equal(connector(batch), again(batch))
    again.load_state_dict(load(save(connector.state_dict())))
    assert torch.equal(connector(batch), again(batch))


@every_variant
def test_a_connector_builds_without_memory_and_draws_its_weights_later(
    config: ConnectorConfig,
) -> None:
    with torch.device("meta"):
        connector = build(config)
    assert {p.device.type for p in connector.parameters()} == {"meta"}
    connector.to_empty(device="cpu")
    for parameter in connector.parameters():
        nn.init.constant_(parameter, float("nan"))
    connector.reset_parameters()
    assert connector(patches(2)).isfinite().all()


@every_variant
def test_half_precision_is_near(config: ConnectorConfig) -> None:
    connector, batch = build(config), patches(2)
    exact = connector(batch)
    rounded = connector.to(torch.bfloat16)(
        Patches(features=batch.features.to(torch.bfloat16), grid=batch.grid)
    )
    assert rounded.dtype == torch.bfloat16
    assert (rounded.float() - exact).abs().max() < BFLOAT16_TOLERANCE * exact.abs().max()
