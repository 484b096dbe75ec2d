"""Patch prediction: the next patch, as the tower saw it, is told at each patch."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from torch import Tensor

from isthmus import IsthmusForConditionalGeneration
from isthmus.axes import Batch
from isthmus.connectors.glu import GLU
from isthmus.data.dataset import ConversationDataset
from isthmus.data.sources import read
from isthmus.fusion.inline import Inline
from isthmus.objectives.base import ObjectiveConfig
from isthmus.objectives.language_modeling import LanguageModeling
from isthmus.objectives.patch_prediction import PatchPrediction
from isthmus.training.pieces import pieces_of
from isthmus.training.step import Piece, Trainee, take_step
from tests.tiny import GRID, tiny_model, tiny_pixels
from tests.tiny_data import write_data

PATCHES = GRID[0] * GRID[1]
SETTINGS: dict[str, dict[str, Any]] = {
    "cogvlm": {"connector": "glu", "fusion": "visual_expert"},
    "linear": {"connector": "linear"},
    "mlp": {"connector": "mlp"},
}


def shown(model: IsthmusForConditionalGeneration) -> Batch:
    """Three images in two samples, words around them."""
    image = torch.full((model.config.num_image_tokens,), model.config.image_token_id)
    words = torch.arange(3, 9)
    rows = [torch.cat([words[:2], image, words[2:4], image]), torch.cat([image, words])]
    ids = torch.full((2, max(map(len, rows))), 2)
    mask = torch.zeros_like(ids)
    for row, (own, seen) in zip(rows, zip(ids, mask, strict=True), strict=True):
        own[: len(row)], seen[: len(row)] = row, 1
    labels = ids.masked_fill((ids == model.config.image_token_id) | (mask == 0), -100)
    return Batch(input_ids=ids, attention_mask=mask, labels=labels, pixel_values=tiny_pixels(3))


def loop(model: IsthmusForConditionalGeneration, head: Any, batch: Batch) -> Tensor:
    """The loss, image by image and patch by patch."""
    hidden = model.model(**batch.model_inputs()).last_hidden_state
    true = model.encode_images(batch.pixel_values).features.detach()
    before, behind = model.config.connector.boundaries
    distances, number = [], 0
    for row, ids in enumerate(batch.input_ids.tolist()):
        place = 0
        while place < len(ids):
            if ids[place] != model.config.image_token_id:
                place += 1
                continue
            for patch in range(PATCHES - 1):
                told, target = head(hidden[row, place + before + patch]), true[number, patch + 1]
                distances.append(1 - told @ target / (told.norm() * target.norm()))
            place, number = place + before + PATCHES + behind, number + 1
    assert number == 3
    return torch.stack(distances).mean()


def gradients(model: IsthmusForConditionalGeneration, loss: Tensor) -> list[Tensor]:
    learned = [*model.model.vision_tower.parameters(), *model.model.connector.parameters()]
    found = torch.autograd.grad(loss, learned, allow_unused=True)
    return [torch.zeros_like(p) if g is None else g for p, g in zip(learned, found, strict=True)]


@pytest.mark.parametrize("setting", SETTINGS)
def test_it_is_what_a_plain_loop_finds(tmp_path: Path, setting: str) -> None:
    model, _ = tiny_model(tmp_path, **SETTINGS[setting])
    objective: Any = PatchPrediction.Config().build(model)
    batch = shown(model)
    found = objective(model, batch).losses["patch_prediction"]
    expected = loop(model, objective.head, batch)
    assert 0.2 < expected.item() < 1.8
    torch.testing.assert_close(found, expected)
    # What is true gets no gradient, or the tower would learn to see the same everywhere.
    torch.testing.assert_close(gradients(model, found), gradients(model, expected))
    assert objective.num_items(batch) == 3 * (PATCHES - 1)


def test_stored_features_and_repeated_views_give_the_same(tmp_path: Path) -> None:
    model, _ = tiny_model(tmp_path, **SETTINGS["cogvlm"])
    objective = PatchPrediction.Config().build(model)
    batch = shown(model)
    assert batch.pixel_values is not None
    stored = replace(
        batch,
        pixel_values=None,
        patch_features=model.encode_images(batch.pixel_values).states.detach(),
    )
    online, kept = (objective(model, b).losses["patch_prediction"] for b in (batch, stored))
    torch.testing.assert_close(online, kept)
    index = torch.tensor([1, 0, 1])
    still = replace(batch, pixel_values=batch.pixel_values[:2], view_index=index)
    plain = replace(batch, pixel_values=batch.pixel_values[index])
    first, second = (objective(model, b).losses["patch_prediction"] for b in (still, plain))
    torch.testing.assert_close(first, second)
    assert not torch.isclose(first, online)


def test_pieces_of_a_step_give_the_gradient_of_the_whole(tmp_path: Path) -> None:
    model, processor = tiny_model(tmp_path, **SETTINGS["cogvlm"])
    dataset = ConversationDataset(list(read(write_data(tmp_path, 8), tmp_path)), processor)
    accelerator = Accelerator(cpu=True)
    trainee = Trainee(model, [LanguageModeling.Config(), PatchPrediction.Config(weight=3.0)])
    found = []
    for accumulation in (1, 4):
        trainee.zero_grad()
        pieces = pieces_of(dataset, range(8), accumulation=accumulation, accelerator=accelerator)
        figures, counts = take_step(trainee, list(pieces), accelerator, torch.float32)
        gradient = torch.cat([p.grad.flatten() for p in trainee.parameters() if p.grad is not None])
        found.append((gradient, figures.losses["patch_prediction"], counts.items))
    (whole, loss, items), (cut, loss_of_pieces, items_of_pieces) = found
    assert items == items_of_pieces
    assert items[1] % (PATCHES - 1) == 0
    torch.testing.assert_close(whole, cut, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(loss, loss_of_pieces)


def test_both_objectives_read_one_pass(tmp_path: Path) -> None:
    model, _ = tiny_model(tmp_path, **SETTINGS["cogvlm"])
    trainee = Trainee(model, [LanguageModeling.Config(), PatchPrediction.Config(weight=0.5)])
    runs: list[str] = []
    for name in ("language_model", "vision_tower"):
        part = model.model.get_submodule(name)
        part.register_forward_hook(lambda *_, name=name: runs.append(name))  # type: ignore[misc]
    batch = shown(model)
    total, losses, _ = trainee(batch, [1.0, 1.0])
    assert sorted(runs) == ["language_model", "vision_tower"]
    torch.testing.assert_close(
        total, losses["language_modeling"] + 0.5 * losses["patch_prediction"]
    )
    # The next step, and an objective that is asked alone, read anew.
    trainee(batch, [1.0, 1.0])
    trainee.objectives[1](model, batch)
    assert len(runs) == 6
    assert batch.shared is None


def test_text_alone_has_nothing_to_tell_but_reaches_the_head(tmp_path: Path) -> None:
    model, _ = tiny_model(tmp_path, **SETTINGS["cogvlm"])
    trainee = Trainee(model, [LanguageModeling.Config(), PatchPrediction.Config()])
    ids = torch.arange(3, 13).view(2, 5)
    batch = Batch(input_ids=ids, attention_mask=torch.ones_like(ids), labels=ids)
    assert trainee.items(Piece(batch)) == [8, 0]
    total, losses, _ = trainee(batch, [1.0, 0.0])
    assert losses["patch_prediction"] == 0
    total.backward()
    assert all((p.grad == 0).all() for p in trainee.objectives[1].parameters())
    assert trainee.parts()["objectives"].parameters() == [*trainee.objectives[1].parameters()]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"connector": "perceiver_resampler"}, "'perceiver_resampler', as it is set, are no patch"),
        ({"connector": GLU.Config(downsample=True)}, "'glu', as it is set, are no patches"),
        (
            {"connector": "linear", "fusion": Inline.Config(image_attention="full")},
            "inline.image_attention is 'full'.*set it to 'causal'",
        ),
        ({"connector": "linear", "fusion": "gated_cross_attention"}, "'gated_cross_attention'"),
        ({"connector": "perceiver_resampler", "clip_frames": 2}, "clip_frames is 2.*set it to 1"),
        ({"connector": "linear", "language": "t5"}, "a model with an encoder"),
    ],
)
def test_it_refuses_what_it_cannot_be_asked_of(
    tmp_path: Path, settings: dict[str, Any], said: str
) -> None:
    model, _ = tiny_model(tmp_path, **settings)
    with pytest.raises(ValueError, match=said):
        PatchPrediction.Config().build(model)


def test_the_folder_is_the_registry() -> None:
    assert ObjectiveConfig.of_kind("patch_prediction") is PatchPrediction.Config
