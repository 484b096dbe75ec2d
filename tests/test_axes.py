"""The structures that travel."""

import pytest
import torch

from isthmus.axes import Batch, Patches


def batch(**changes: object) -> Batch:
    values = {
        "input_ids": torch.tensor([[5, 6, 7], [8, 9, 2]]),
        "attention_mask": torch.tensor([[1, 1, 1], [1, 1, 0]]),
        "ids": ("a", "b"),
    }
    return Batch(**{**values, **changes})


def test_a_grid_that_does_not_cover_the_patches_is_refused() -> None:
    with pytest.raises(ValueError, match="grid of 2 x 3 = 6 cells cannot hold 7 patches"):
        Patches(features=torch.zeros(1, 7, 4), grid=(2, 3))


def test_the_first_position_is_never_supervised() -> None:
    labels = torch.tensor([[5, -100, 7], [8, -100, -100]])
    assert batch(labels=labels).num_supervised == 1
    assert batch().num_supervised == 0


def test_the_first_token_that_a_decoder_writes_is_supervised() -> None:
    labels = torch.tensor([[5, 7], [8, -100]])
    given = batch(labels=labels, decoded=True)
    assert given.num_supervised == 3
    assert given.num_positions == 5 + 3
    assert batch(labels=torch.tensor([[5, 6, 7], [-100, 9, 2]])).num_positions == 5


def test_model_inputs_hold_what_is_there_and_no_labels() -> None:
    pixels = torch.zeros(1, 3, 4, 4, dtype=torch.uint8)
    given = batch(pixel_values=pixels, labels=torch.zeros(2, 3, dtype=torch.int64))
    assert set(given.model_inputs()) == {"input_ids", "attention_mask", "pixel_values"}
    features = batch(patch_features=torch.zeros(1, 4, 8))
    assert set(features.model_inputs()) == {"input_ids", "attention_mask", "patch_features"}


def test_images_in_two_forms_are_refused() -> None:
    pixels = torch.zeros(1, 3, 4, 4, dtype=torch.uint8)
    with pytest.raises(ValueError, match="not both"):
        batch(pixel_values=pixels, patch_features=torch.zeros(1, 4, 8))


def test_moving_a_batch_moves_every_tensor_and_keeps_the_rest() -> None:
    given = batch(patch_features=torch.zeros(1, 4, 8))
    moved = given.to("meta")
    assert moved.ids == ("a", "b")
    assert moved.labels is None
    assert {t.device.type for t in moved.model_inputs().values()} == {"meta"}
    assert given.input_ids.device.type == "cpu"
