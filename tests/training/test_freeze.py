"""What is named learns, what is not stays, and the table tells."""

from io import StringIO
from pathlib import Path

import pytest
import torch
from rich.console import Console
from torch import nn

from isthmus.modeling.parts import ModelPart, split
from isthmus.training.freeze import (
    freeze_and_thaw,
    part_table,
    recomputed_layers,
    set_modes,
)
from isthmus.training.stage import Part
from tests.tiny import tiny_lm, tiny_model

CONNECTOR = Part(name="connector", lr=1e-3)


def test_freeze_thaw_and_the_modes_that_follow(tmp_path: Path) -> None:
    model, _ = tiny_model(tmp_path, connector="linear")
    parts = model.parts()
    freeze_and_thaw(parts, [CONNECTOR])
    set_modes(model, parts, [CONNECTOR])
    learning = {name for name, p in model.named_parameters() if p.requires_grad}
    assert learning == {f"model.connector.{n}" for n, _ in model.model.connector.named_parameters()}
    assert model.training
    assert model.model.connector.projection.training
    assert not any(m.training for m in model.model.language_model.modules())
    assert not any(m.training for m in model.model.vision_tower.modules())

    thawed = [Part(name="language_model", lr=1e-4)]
    freeze_and_thaw(parts, thawed)
    set_modes(model, parts, thawed)
    assert not any(p.requires_grad for p in model.model.connector.parameters())
    assert all(p.requires_grad for p in model.lm_head.parameters())
    assert all(m.training for m in model.model.language_model.modules())


def test_the_table_counts_each_parameter_once(tmp_path: Path) -> None:
    model, _ = tiny_model(tmp_path, connector="linear")
    model.lm_head.weight = model.get_input_embeddings().weight  # tied
    rows = freeze_and_thaw(model.parts(), [CONNECTOR])
    assert sum(row.parameters for row in rows) == sum(p.numel() for p in model.parameters())
    by_name = {row.part: row for row in rows}
    size = sum(p.numel() for p in model.model.connector.parameters())
    assert (by_name["connector"].trainable, by_name["connector"].lr) == (size, 1e-3)
    assert by_name["language_model"].trainable == 0

    console = Console(width=100, file=StringIO())
    console.print(part_table(rows))
    text = console.file.getvalue()
    assert f"{size:,}" in text
    assert text.count("frozen") == 2


def test_parts_that_cannot_learn_are_refused(tmp_path: Path) -> None:
    parts = split({"connector": [nn.Linear(2, 2)], "objectives": [nn.Linear(1, 1)]})
    with pytest.raises(ValueError, match="'vision_tower' is not in the model"):
        freeze_and_thaw(parts, [Part(name="vision_tower", lr=1.0)])
    with pytest.raises(ValueError, match="add a part named 'objectives'"):
        freeze_and_thaw(parts, [CONNECTOR])
    with pytest.raises(ValueError, match="'connector' has no parameters"):
        freeze_and_thaw(split({"connector": [nn.ReLU()]}), [CONNECTOR])


def test_recomputed_layers_save_activations_of_a_frozen_model_and_change_no_gradient() -> None:
    lm = tiny_lm().requires_grad_(False).eval()
    embeds = torch.randn(2, 9, 48, requires_grad=True)

    def gradient_and_kept() -> tuple[torch.Tensor, int]:
        kept = 0

        def pack(tensor: torch.Tensor) -> torch.Tensor:
            nonlocal kept
            kept += tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            loss = lm(inputs_embeds=embeds, use_cache=False).logits.pow(2).mean()
        return torch.autograd.grad(loss, embeds)[0], kept

    plain, plain_kept = gradient_and_kept()
    with recomputed_layers(lm, enabled=True):
        recomputed, kept = gradient_and_kept()
    assert torch.equal(plain, recomputed)
    assert kept < plain_kept / 2
    assert gradient_and_kept()[1] == plain_kept
    with recomputed_layers(lm, enabled=False):
        assert gradient_and_kept()[1] == plain_kept


def test_parameters_of_tied_modules() -> None:
    a, b = nn.Linear(2, 3), nn.Linear(2, 3)
    b.weight = a.weight
    assert len(ModelPart([a, b]).parameters()) == 3
