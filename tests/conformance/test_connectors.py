"""What every connector promises; a new file in the folder is tested at once."""

from dataclasses import fields, replace
from typing import Any

import pytest
import torch
from safetensors.torch import load, save
from torch import nn
from torch.utils.checkpoint import checkpoint

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
SMALL = {
    "num_latents": 5,
    "num_queries": 4,
    "depth": 2,
    "num_heads": 2,
    "num_key_value_heads": 1,
    "d_head": 6,
    "d_hidden": 12,
}


def small(kind: str) -> ConnectorConfig:
    config = connectors.default(kind)
    known = {field.name for field in fields(config)} & set(SMALL)
    return replace(config, **{name: SMALL[name] for name in known})


def variants() -> list[ConnectorConfig]:
    """Each kind once small, and once with every switch turned over."""
    found = []
    for kind in connectors.names():
        config = small(kind)
        switches: dict[str, Any] = {
            field.name: not getattr(config, field.name)
            for field in fields(config)
            if isinstance(getattr(config, field.name), bool)
        }
        if switches.get("project") is False:  # then the latents are the tokens
            switches["d_hidden"] = D_TEXT
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
    others[0] = torch.randn_like(others[0])
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


@every_variant
def test_images_of_several_sizes_are_read_as_if_alone(config: ConnectorConfig) -> None:
    sizes = [(4, 4), (2, 4), (4, 2)]
    connector, grid = build(config), (4, 4)
    alone = [patches(1, size) for size in sizes]
    features, mask = torch.zeros(3, 4, 4, D_VISION), torch.zeros(3, 4, 4, dtype=torch.bool)
    for index, (image, (rows, columns)) in enumerate(zip(alone, sizes, strict=True)):
        features[index, :rows, :columns] = image.features.view(rows, columns, D_VISION)
        mask[index, :rows, :columns] = True
    # Whatever stands in the padding must not matter.
    features = torch.where(mask[..., None], features, 7.0)
    padded = Patches(features=features.flatten(1, 2), grid=grid, mask=mask.flatten(1))
    read = connector.read(padded)
    for index, image in enumerate(alone):
        expected = connector(image)[0]
        count = config.num_tokens(sizes[index])
        assert len(expected) == count
        torch.testing.assert_close(
            read.features[index, :count], expected, atol=BATCH_TOLERANCE, rtol=0
        )
        if read.mask is not None:
            assert read.mask[index].tolist() == [n < count for n in range(read.mask.shape[1])]


@every_variant
def test_recomputing_changes_no_gradient(config: ConnectorConfig) -> None:
    connector, batch = build(config), patches(2)

    def gradients(recompute: bool) -> list[torch.Tensor]:
        connector.zero_grad()
        torch.manual_seed(0)
        if recompute:
            tokens = checkpoint(connector, batch, use_reentrant=False)
        else:
            tokens = connector(batch)
        (tokens * tokens.detach().cos()).sum().backward()
        return [p.grad.clone() for p in connector.parameters() if p.grad is not None]

    connector.train()
    for plain, recomputed in zip(gradients(False), gradients(True), strict=True):
        torch.testing.assert_close(plain, recomputed, atol=1e-6, rtol=1e-5)
