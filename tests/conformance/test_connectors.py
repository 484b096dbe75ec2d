"""What every connector promises; a new file in the folder is tested at once."""

from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

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
    "num_eos_tokens": 2,
}
MORE_THAN_PATCHES = {"num_latents": 25, "num_queries": 25}
SEVERAL_LEVELS = {"num_levels": 2}


def sized(config: ConnectorConfig, counts: dict[str, int]) -> ConnectorConfig:
    """The configuration, and those inside it, with the counts that they have fields for."""
    given: dict[str, Any] = {field.name: getattr(config, field.name) for field in fields(config)}
    changes: dict[str, Any] = {name: counts[name] for name in set(given) & set(counts)}
    for name, value in given.items():
        if isinstance(value, ConnectorConfig):
            changes[name] = sized(value, counts)
    return replace(config, **changes)


def small(kind: str) -> ConnectorConfig:
    return sized(connectors.default(kind), SMALL)


def variants() -> list[ConnectorConfig]:
    """Each kind small; every switch turned over; every choice at its last; several levels."""
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
        choices: dict[str, Any] = {
            field.name: get_args(field.type)[-1]
            for field in fields(config)
            if get_origin(field.type) is Literal
        }
        others = [replace(config, **made) for made in (switches, choices)]
        others.append(sized(config, SEVERAL_LEVELS))
        found += [config, *(other for other in others if other != config)]
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


def test_every_file_of_the_folder_is_tested() -> None:
    files = {file.stem for file in Path(connectors.__file__).parent.glob("[!_]*.py")}
    assert {config.kind for config in variants()} == files - {"base"}


@pytest.mark.parametrize("kind", connectors.names())
def test_tokens_may_be_more_than_patches_where_their_number_is_free(kind: str) -> None:
    config = sized(small(kind), MORE_THAN_PATCHES)
    tokens = build(config)(patches(2))
    assert tokens.shape == (2, config.num_tokens(GRIDS[0]), D_TEXT)
    assert torch.pdist(tokens[0]).min() > 1e-4
    if config != small(kind):
        assert tokens.shape[1] >= 25


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
def test_what_surrounds_the_tokens_of_an_image_is_the_same_for_all(config: ConnectorConfig) -> None:
    one, other = build(config)(patches(2))
    before, after = config.boundaries
    inner = range(before, len(one) - after)
    assert (one == other).all(dim=-1).tolist() == [n not in inner for n in range(len(one))]


@every_variant
def test_a_connector_says_whether_its_tokens_are_the_patches(config: ConnectorConfig) -> None:
    before, behind = config.boundaries
    seen = patches(1)
    count = seen.features.shape[1]
    module = build(config)
    is_kept = config.num_tokens(GRIDS[0]) == before + count + behind
    for patch in range(count):
        other = seen.features.clone()
        other[:, patch] += 1
        tokens, changed = module(seen), module(replace(seen, features=other))
        differ = (tokens - changed).abs().amax(dim=-1)[0] > 1e-6
        is_kept = is_kept and differ.nonzero().flatten().tolist() == [before + patch]
    assert config.keeps_patches == is_kept


@every_variant
def test_a_clip_is_read_frame_after_frame_or_at_once(config: ConnectorConfig) -> None:
    connector, (rows, columns) = build(config), GRIDS[0]
    frames = patches(2 * 3)

    def read(features: torch.Tensor) -> torch.Tensor:
        joined = features.reshape(2, 3 * rows * columns, D_VISION)
        return connector(Patches(features=joined, grid=GRIDS[0], num_frames=3))

    clips, count = read(frames.features), config.num_tokens(GRIDS[0])
    if clips.shape[1] == count:  # at once: each frame matters, and the clip costs no more
        for frame in range(6):
            other = frames.features.clone()
            other[frame] = torch.randn(rows * columns, D_VISION)
            moved = (read(other) != clips).flatten(1).any(1)
            assert moved.tolist() == [frame < 3, frame >= 3]
        return
    before, after = config.boundaries
    for clip, alone in zip(clips, connector(frames).reshape(2, 3, count, D_TEXT), strict=True):
        inner = alone[:, before : count - after].flatten(0, 1)
        expected = torch.cat([alone[0, :before], inner, alone[0, count - after :]])
        torch.testing.assert_close(clip, expected, atol=BATCH_TOLERANCE, rtol=0)


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


@pytest.mark.gpu
@every_variant
def test_a_gpu_computes_the_same(config: ConnectorConfig) -> None:
    connector, batch = build(config), patches(2)
    expected = connector(batch)
    moved = connector.cuda()(Patches(features=batch.features.cuda(), grid=batch.grid))
    # Its kernels sum in another order, and may round products to 10 bits.
    torch.testing.assert_close(moved.cpu(), expected, atol=1e-2, rtol=1e-2)


@every_variant
@pytest.mark.parametrize("frames", [1, 2])
def test_images_of_several_sizes_are_read_as_if_alone(config: ConnectorConfig, frames: int) -> None:
    sizes = [(4, 4), (2, 4), (4, 2)]
    connector, grid = build(config), (4, 4)
    alone = [
        Patches(
            features=torch.randn(1, frames * rows * columns, D_VISION),
            grid=(rows, columns),
            num_frames=frames,
        )
        for rows, columns in sizes
    ]
    # Whatever stands in the padding must not matter.
    features = torch.full((3, frames, 4, 4, D_VISION), 7.0)
    mask = torch.zeros(3, frames, 4, 4, dtype=torch.bool)
    for index, (image, (rows, columns)) in enumerate(zip(alone, sizes, strict=True)):
        cells = image.features.view(frames, rows, columns, D_VISION)
        features[index, :, :rows, :columns] = cells
        mask[index, :, :rows, :columns] = True
    padded = Patches(
        features=features.flatten(1, 3), grid=grid, num_frames=frames, mask=mask.flatten(1)
    )
    read = connector.read(padded)
    for index, image in enumerate(alone):
        expected = connector(image)[0]
        count = len(expected)
        assert frames > 1 or count == config.num_tokens(sizes[index])
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
