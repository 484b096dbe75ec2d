"""Clips, places, padding and the arms of the norms."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from isthmus.axes import Patches
from isthmus.connectors.perceiver_resampler import PerceiverResampler, ResamplerLayer

D_VISION, D_TEXT = 12, 20
GRID = (3, 4)
# Two ways of the same sums round differently.
TOLERANCE = 1e-5
SMALL = PerceiverResampler.Config(num_latents=5, depth=2, num_heads=2, d_head=6)
CLIPS = replace(SMALL, num_frames=4)


def build(config: PerceiverResampler.Config) -> PerceiverResampler:
    connector = config.build(d_vision=D_VISION, d_text=D_TEXT, grid=GRID).eval()
    # What is learned of places starts small; here it has to show.
    for parameter in (connector.frame_embeddings, connector.media_embeddings):
        if parameter is not None:
            nn.init.normal_(parameter)
    if connector.positions is not None:
        nn.init.normal_(connector.positions.weight)
    return connector


def clips(images: int, num_frames: int, grid: tuple[int, int] = GRID, **more: Tensor) -> Patches:
    features = torch.randn(images, num_frames * grid[0] * grid[1], D_VISION)
    return Patches(features=features, grid=grid, num_frames=num_frames, **more)


def plain(connector: PerceiverResampler, patches: Patches, added: Tensor) -> Tensor:
    """The tokens of a resampler without embeddings, of patches that something was added to."""
    weights = connector.state_dict()
    without = SMALL.build(d_vision=D_VISION, d_text=D_TEXT, grid=GRID).eval()
    without.load_state_dict({name: weights[name] for name in without.state_dict()})
    return without(replace(patches, features=patches.features + added, media_index=None))


@pytest.mark.parametrize("num_frames", [1, 3, 4])
def test_a_clip_takes_the_first_frame_embeddings(num_frames: int) -> None:
    connector, patches = build(CLIPS), clips(2, num_frames)
    added = connector.frame_embeddings[:num_frames].repeat_interleave(12, dim=0)
    torch.testing.assert_close(connector(patches), plain(connector, patches, added))


def test_a_clip_of_more_frames_lies_between_the_learned_ones() -> None:
    connector, patches = build(CLIPS), clips(2, 7)
    learned = connector.frame_embeddings.detach()
    between = (learned[1:] + learned[:-1]) / 2
    added = torch.stack([learned[0], between[0], learned[1], between[1], learned[2], between[2]])
    added = torch.cat([added, learned[3:]]).repeat_interleave(12, dim=0)
    torch.testing.assert_close(connector(patches), plain(connector, patches, added))


def test_media_take_the_embedding_of_their_place() -> None:
    connector = build(replace(SMALL, num_media=3))
    patches = clips(4, 1, media_index=torch.tensor([0, 2, 0, 1]))
    added = connector.media_embeddings[[0, 2, 0, 1]]
    torch.testing.assert_close(connector(patches), plain(connector, patches, added))
    with pytest.raises(ValueError, match="give Patches with a media_index"):
        connector(replace(patches, media_index=None))


@pytest.mark.parametrize("patch_positions", [False, True])
def test_positions_of_another_grid_tell_patches_apart(patch_positions: bool) -> None:
    connector = build(replace(SMALL, patch_positions=patch_positions))
    patches = clips(1, 1, (2, 5))
    turned = replace(patches, features=patches.features.flip(1))
    difference = (connector(patches) - connector(turned)).abs().max()
    assert difference > 1e-3 if patch_positions else difference < TOLERANCE


@pytest.mark.parametrize("num_frames", [1, 2])
@pytest.mark.parametrize("patch_positions", [False, True])
def test_a_padded_image_gives_what_it_gives_without_padding(
    patch_positions: bool, num_frames: int
) -> None:
    connector = build(replace(CLIPS, patch_positions=patch_positions))
    sizes = [(2, 3), (3, 2), (3, 4)]
    mask = torch.zeros(3, num_frames, *GRID, dtype=torch.bool)
    for index, (rows, columns) in enumerate(sizes):
        mask[index, :, :rows, :columns] = True
    patches = clips(3, num_frames, mask=mask.flatten(1))
    together = connector.read(patches)
    assert together.mask is None
    for index, size in enumerate(sizes):
        features = patches.features[index][patches.mask[index]][None]
        alone = connector(Patches(features=features, grid=size, num_frames=num_frames))
        torch.testing.assert_close(together.features[index], alone[0], atol=TOLERANCE, rtol=0)


def test_a_mask_without_images() -> None:
    connector = build(replace(SMALL, patch_positions=True))
    assert connector(clips(0, 1, mask=torch.ones(0, 12, dtype=torch.bool))).shape == (0, 5, D_TEXT)


def test_a_shared_norm_is_two_alike() -> None:
    shared = build(replace(SMALL, input_norm="shared"))
    weights = shared.state_dict()
    for name in ("weight", "bias"):
        for layer in range(SMALL.depth):
            nn.init.normal_(weights[f"layers.{layer}.patch_norm.{name}"])
            weights[f"layers.{layer}.latent_norm.{name}"] = weights[
                f"layers.{layer}.patch_norm.{name}"
            ]
    separate = build(SMALL)
    separate.load_state_dict(weights)
    patches = clips(2, 1)
    assert torch.equal(shared(patches), separate(patches))


@pytest.mark.parametrize("input_norm", ["separate", "shared", "none"])
def test_without_norms_the_scale_of_the_patches_shows(input_norm: str) -> None:
    connector, patches = build(replace(SMALL, input_norm=input_norm)), clips(2, 1)
    scaled = connector(replace(patches, features=100 * patches.features))
    difference = (connector(patches) - scaled).abs().max()
    assert difference > 1e-2 if input_norm == "none" else difference < 1e-4


def test_a_layer_without_feed_forward_part() -> None:
    layer = ResamplerLayer(replace(SMALL, ffn_multiplier=0), D_VISION)
    assert not any("feed_forward" in name for name in layer.state_dict())
    nn.init.zeros_(layer.output.weight)
    latents = torch.randn(1, 5, D_VISION)
    assert torch.equal(layer(latents, torch.randn(1, 7, D_VISION), None), latents)


@pytest.mark.parametrize(("activation", "expected"), [("relu", [0, 3]), ("relu2", [0, 9])])
def test_activations(activation: str, expected: list[float]) -> None:
    layer = ResamplerLayer(replace(SMALL, activation=activation), D_VISION)
    assert layer.feed_forward[2](torch.tensor([-3.0, 3.0])).tolist() == expected


def test_the_width_of_the_latents() -> None:
    connector = build(replace(SMALL, d_hidden=16, patch_positions=True, num_frames=2, num_media=2))
    assert connector.latents.shape == (5, 16)
    tokens = connector(clips(3, 2, media_index=torch.tensor([0, 1, 0])))
    assert tokens.shape == (3, 5, D_TEXT)
    tokens.square().sum().backward()
    assert [name for name, p in connector.named_parameters() if p.grad is None] == []


def test_latents_that_are_handed_on_as_they_are() -> None:
    connector = build(replace(SMALL, project=False))
    assert connector.latents.shape == (5, D_TEXT)
    tokens = connector(clips(2, 1))
    # The final norm is the last that happens to them.
    torch.testing.assert_close(tokens.mean(-1), torch.zeros(2, 5), atol=TOLERANCE, rtol=0)
    with pytest.raises(ValueError, match="d_hidden is 16 and the language model 20 wide"):
        build(replace(SMALL, project=False, d_hidden=16))


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [("num_latents", 0, 1), ("d_hidden", 0, 1), ("ffn_multiplier", -1, 0), ("num_frames", -1, 0)],
)
def test_counts_that_are_too_small(name: str, value: int, expected: int) -> None:
    with pytest.raises(ValueError, match=f"{name} is {value}; expected {expected} or more"):
        replace(SMALL, **{name: value})
