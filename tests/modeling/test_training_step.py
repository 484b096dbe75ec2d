"""Loss and gradients: supervised rows only, checkpointing, batches without images."""

import copy

import pytest
import torch
from transformers import LlavaConfig, LlavaForConditionalGeneration

from isthmus import IsthmusForConditionalGeneration
from tests.tiny import tiny_pixels

GRADIENT_TOLERANCE = 1e-5
"""Relative to the largest value: sums in another order."""


def batch(model: IsthmusForConditionalGeneration, rows: int = 2) -> dict[str, torch.Tensor]:
    """Rows of text, image, text; the loss is taken on the last text."""
    image = torch.full((rows, model.config.num_image_tokens), model.config.image_token_id)
    before, after = torch.randint(3, 259, (rows, 3)), torch.randint(3, 259, (rows, 5))
    ids = torch.cat([before, image, after], dim=1)
    labels = torch.full_like(ids, -100)
    labels[:, -5:] = after
    labels[0, -1] = -100
    return {"input_ids": ids, "labels": labels, "pixel_values": tiny_pixels(rows)}


def gradients(model: IsthmusForConditionalGeneration) -> dict[str, torch.Tensor]:
    return {n: p.grad for n, p in model.named_parameters() if p.grad is not None}


def assert_close(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        tolerance = GRADIENT_TOLERANCE * max(1.0, gradient.abs().max().item())
        torch.testing.assert_close(found[name], gradient, atol=tolerance, rtol=0, msg=name)


def test_the_loss_is_that_of_all_logits(model: IsthmusForConditionalGeneration) -> None:
    inputs = batch(model)
    labels = inputs.pop("labels")
    logits = model(**inputs).logits
    expected = torch.nn.functional.cross_entropy(
        logits[:, :-1].reshape(-1, logits.shape[-1]), labels[:, 1:].reshape(-1)
    )
    expected.backward()
    wanted = gradients(model)
    model.zero_grad()
    output = model(**inputs, labels=labels)
    assert output.logits is None
    assert output.past_key_values is None
    torch.testing.assert_close(output.loss, expected)
    output.loss.backward()
    assert_close(gradients(model), wanted)


def test_an_image_shown_at_several_places_is_seen_once(
    model: IsthmusForConditionalGeneration,
) -> None:
    inputs = batch(model, rows=3)
    pixels = inputs["pixel_values"][:2]
    places = torch.tensor([1, 0, 1])
    model(**inputs | {"pixel_values": pixels[places]}).loss.backward()
    wanted = gradients(model)
    model.zero_grad()
    seen = []
    handle = model.model.vision_tower.register_forward_pre_hook(
        lambda _, given: seen.append(len(given[0]))
    )
    model(**inputs | {"pixel_values": pixels, "view_index": places}).loss.backward()
    handle.remove()
    assert seen == [2]
    assert_close(gradients(model), wanted)


def test_accumulated_batches_divide_by_all_their_tokens(
    model: IsthmusForConditionalGeneration,
) -> None:
    inputs = batch(model)
    whole = model(**inputs).loss
    rows = [{name: value[i : i + 1] for name, value in inputs.items()} for i in range(2)]
    parts = [model(**row, num_items_in_batch=torch.tensor(9)).loss for row in rows]
    torch.testing.assert_close(sum(parts), whole)


def test_gradient_checkpointing_changes_no_gradient(
    model: IsthmusForConditionalGeneration,
) -> None:
    inputs = batch(model)
    plain = copy.deepcopy(model).train()
    plain(**inputs).loss.backward()
    model.train()
    model.activation_checkpointing_enable()
    assert model.is_activation_checkpointing
    model(**inputs).loss.backward()
    assert_close(gradients(model), gradients(plain))


def test_a_connector_between_frozen_towers_gets_its_whole_gradient(
    model: IsthmusForConditionalGeneration,
) -> None:
    inputs = batch(model)
    whole = copy.deepcopy(model).train()
    whole(**inputs).loss.backward()
    model.requires_grad_(False).train()
    model.model.connector.requires_grad_(True)
    model(**inputs).loss.backward()
    expected = {n: g for n, g in gradients(whole).items() if ".connector." in n}
    assert_close(gradients(model), expected)


def test_training_text_alone_still_runs_every_trainable_part(
    model: IsthmusForConditionalGeneration,
) -> None:
    ids = torch.randint(3, 259, (2, 6))
    with torch.no_grad():
        expected = model(input_ids=ids).logits
    model.train()
    model.model.language_model.requires_grad_(False)
    output = model(input_ids=ids, labels=ids)
    output.loss.backward()
    for name, parameter in model.model.connector.named_parameters():
        assert parameter.grad is not None, name
        assert not parameter.grad.any(), name
    assert any(p.grad is not None for p in model.model.vision_tower.parameters())
    assert torch.equal(model(input_ids=ids).logits, expected)


def test_the_parts_are_the_whole(model: IsthmusForConditionalGeneration) -> None:
    parts = model.parts()
    assert list(parts) == ["vision_tower", "connector", "language_model"]
    counted = [p for part in parts.values() for p in part.parameters()]
    assert {id(p) for p in counted} == {id(p) for p in model.parameters()}


@pytest.mark.parametrize("rows", [1, 2])
def test_logits_and_gradients_equal_stock_llava(
    model: IsthmusForConditionalGeneration, rows: int
) -> None:
    """The same parts in transformers' own LLaVA: same logits to the bit, same gradients."""
    stock = LlavaForConditionalGeneration(
        LlavaConfig(
            vision_config=model.config.vision_config.to_dict(),
            text_config={**model.config.text_config.to_dict(), "vocab_size": 260},
            image_token_index=model.config.image_token_id,
            vision_feature_layer=2,
            vision_feature_select_strategy="full",
        )
    ).eval()
    # Their embedding has a row for the placeholder: ours is never embedded.
    state = stock.state_dict()
    for name, weight in model.state_dict().items():
        theirs = name.replace("vision_tower.encoder", "vision_tower").replace(
            "connector.layers", "multi_modal_projector"
        )
        state[theirs][: len(weight)] = weight
    inputs = batch(model, rows)
    labels = inputs.pop("labels")
    pixels = inputs["pixel_values"].float() / 255
    mean = torch.tensor(model.config.image_mean)[:, None, None]
    std = torch.tensor(model.config.image_std)[:, None, None]
    expected = stock(input_ids=inputs["input_ids"], pixel_values=(pixels - mean) / std)
    found = model(**inputs)
    assert torch.equal(found.logits, expected.logits[..., :259])
    weights = torch.randn_like(found.logits) * (labels != -100)[..., None]
    (found.logits * weights).sum().backward()
    (expected.logits[..., :259] * weights).sum().backward()
    theirs = stock.model.multi_modal_projector
    ours = model.model.connector.layers
    for layer in ("linear_1", "linear_2"):
        for end in ("weight", "bias"):
            wanted = theirs.get_parameter(f"{layer}.{end}").grad
            torch.testing.assert_close(
                ours.get_parameter(f"{layer}.{end}").grad,
                wanted,
                atol=GRADIENT_TOLERANCE * wanted.abs().max().item(),
                rtol=0,
            )
