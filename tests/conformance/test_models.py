"""Any connector goes with any fusion: the model answers, learns, and leaves text as it was."""

from itertools import product
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from isthmus import IsthmusForConditionalGeneration, connectors
from isthmus import fusion as fusions
from tests.conformance.test_connectors import small
from tests.conformance.test_fusions import batch_of_two, built, shown, text
from tests.tiny import tiny_pixels

PAIRS = list(product(connectors.names(), fusions.names()))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module", params=PAIRS, ids=" ".join)
def model(request: pytest.FixtureRequest, folder: Path) -> IsthmusForConditionalGeneration:
    """A tiny model, one for all tests of a pair."""
    connector, fusion = request.param
    return built(folder, fusion, connector=small(connector))


def test_text_alone_has_the_language_models_own_logits(
    model: IsthmusForConditionalGeneration, folder: Path
) -> None:
    stock = AutoModelForCausalLM.from_pretrained(folder / "llama")
    ids = text(2, 9)
    with torch.no_grad():
        assert torch.equal(model(input_ids=ids).logits, stock(input_ids=ids).logits)


def test_an_answer_is_the_same_with_and_without_a_cache(
    model: IsthmusForConditionalGeneration,
) -> None:
    ids, mask = batch_of_two(model)
    asked = {"input_ids": ids, "attention_mask": mask, "pixel_values": tiny_pixels(1)}
    how = {"max_new_tokens": 4, "do_sample": False, "eos_token_id": None}
    cached = model.generate(**asked, **how)
    assert torch.equal(cached, model.generate(**asked, **how, use_cache=False))


def test_gradients_reach_every_weight_of_the_connector_and_none_that_is_frozen(
    model: IsthmusForConditionalGeneration,
) -> None:
    ids = shown(model)
    labels = torch.where(ids == model.config.image_token_id, -100, ids)
    model.requires_grad_(False)
    model.model.connector.requires_grad_(True)
    model(input_ids=ids, pixel_values=tiny_pixels(1), labels=labels).loss.backward()
    learning = {f"model.connector.{n}" for n, _ in model.model.connector.named_parameters()}
    reached = {n for n, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    assert reached == learning
    assert {n for n, p in model.named_parameters() if p.grad is not None} == learning
