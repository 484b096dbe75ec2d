"""Low-rank updates change nothing at first, learn alone, and merge into the same function."""

from pathlib import Path

import pytest
import torch
from torch import nn

from isthmus.modeling.lora import Lora, add_lora, lora_parameters, merge_lora
from isthmus.modeling.parts import ModelPart
from tests.tiny import LANGUAGE_CONFIGS, tiny_lm, tiny_model, tiny_pixels

IDS = torch.arange(3, 15)[None]


def stir(parameters: list[nn.Parameter]) -> None:
    with torch.no_grad():
        for parameter in parameters:
            parameter.normal_(std=0.3)


@pytest.mark.parametrize("family", LANGUAGE_CONFIGS)
def test_merging_gives_the_same_logits_and_the_same_keys(family: str) -> None:
    model = tiny_lm(family)
    body = model.base_model
    keys = set(model.state_dict())
    with torch.no_grad():
        before = model(input_ids=IDS).logits
        part = ModelPart([body, model.get_output_embeddings()])
        add_lora(part, Lora(rank=2))
        updates = lora_parameters(part)
        assert torch.equal(model(input_ids=IDS).logits, before)
        stir(updates)
        updated = model(input_ids=IDS).logits
        assert (updated - before).abs().max() > 0.01
        merge_lora(part)
        torch.testing.assert_close(model(input_ids=IDS).logits, updated, rtol=1e-4, atol=1e-4)
    assert set(model.state_dict()) == keys
    # Every linear layer has its two factors, but for the head.
    assert len(updates) >= 2 * 2 * 4


def test_targets_choose_layers_by_the_ends_of_their_names() -> None:
    body = tiny_lm().base_model
    part = ModelPart([body])
    add_lora(part, Lora(rank=3, targets=("q_proj", "mlp.up_proj")))
    add_lora(part, Lora(rank=3, targets=("q_proj", "mlp.up_proj")))  # changes nothing
    names = [name for name, _ in body.named_parameters() if "lora_" in name]
    assert len(names) == 2 * 2 * 2
    assert all("q_proj" in name or "up_proj" in name for name in names)
    assert {min(p.shape) for p in lora_parameters(part)} == {3}
    with pytest.raises(ValueError, match=r"no linear layer is called 'qproj'; there are .*q_proj"):
        add_lora(ModelPart([tiny_lm().base_model]), Lora(targets=("qproj",)))
    with pytest.raises(ValueError, match="rank is 0"):
        Lora(rank=0)


def test_gradients_are_those_of_the_product(tmp_path: Path) -> None:
    """Against the definition: W + (alpha / rank) B A, by autograd over plain tensors."""
    layer = nn.Sequential(nn.Linear(6, 5, bias=False))
    weight = layer[0].weight.detach().clone()
    part = ModelPart([layer])
    add_lora(part, Lora(rank=2, alpha=3))
    stir(lora_parameters(part))
    down, up = lora_parameters(part)
    x = torch.randn(4, 6)
    layer(x).square().sum().backward()
    a, b = (p.detach().clone().requires_grad_() for p in (down, up))
    ((x @ (weight + 3 / 2 * b @ a).T).square().sum()).backward()
    torch.testing.assert_close(down.grad, a.grad)
    torch.testing.assert_close(up.grad, b.grad)


def test_images_pass_through_an_updated_model(tmp_path: Path) -> None:
    model, _ = tiny_model(tmp_path, connector="linear")
    ids = torch.full((1, model.config.num_image_tokens + 2), model.config.image_token_id)
    ids[0, 0], ids[0, -1] = 5, 7
    parts = model.parts()
    for name in ("vision_tower", "connector", "language_model"):
        add_lora(parts[name], Lora(rank=2))
        stir(lora_parameters(parts[name]))
    with torch.no_grad():
        updated = model(input_ids=ids, pixel_values=tiny_pixels(1)).logits
        for part in parts.values():
            merge_lora(part)
        merged = model(input_ids=ids, pixel_values=tiny_pixels(1)).logits
    torch.testing.assert_close(merged, updated, rtol=1e-4, atol=1e-4)
