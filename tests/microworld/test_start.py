"""A grown language model begins as the one that it grew from, and only what is new learns."""

import pytest
import torch
from transformers import AutoTokenizer, LlamaForCausalLM

from isthmus.microworld import towers
from isthmus.microworld.towers.language import LanguageModeling
from isthmus.microworld.towers.start import Start, fresh, grown, saved

FOLDER = towers.path("lm_chat")
TOKENIZER = AutoTokenizer.from_pretrained(FOLDER)


def made(start: Start) -> LlamaForCausalLM:
    return start(TOKENIZER).eval()


@pytest.mark.parametrize(
    ("depth", "new"), [(12, {1, 3, 5, 7, 9, 11}), (9, {2, 5, 8}), (8, {3, 7}), (7, {6})]
)
@torch.no_grad()
def test_a_grown_model_is_the_same_function(depth: int, new: set[int]) -> None:
    model = made(grown(FOLDER, depth=depth))
    ids = torch.randint(0, 900, (2, 40))
    assert torch.equal(model(input_ids=ids).logits, made(saved(FOLDER))(input_ids=ids).logits)
    assert model.config.num_hidden_layers == len(model.model.layers) == depth
    learning = {name for name, weight in model.named_parameters() if weight.requires_grad}
    assert {int(name.split(".")[2]) for name in learning} == new
    assert all(name.startswith("model.layers.") for name in learning)


@torch.no_grad()
def test_each_layer_of_a_grown_model_has_its_own_place_in_the_cache() -> None:
    model = made(grown(FOLDER, depth=12))
    ids = torch.randint(0, 900, (1, 12))
    past = model(input_ids=ids[:, :-1], use_cache=True).past_key_values
    last = model(input_ids=ids[:, -1:], past_key_values=past).logits[:, -1]
    torch.testing.assert_close(last, model(input_ids=ids).logits[:, -1], atol=1e-4, rtol=0)


@pytest.mark.parametrize("depth", [5, 6, 10, 13])
def test_layers_that_cannot_be_parted_evenly_are_refused(depth: int) -> None:
    with pytest.raises(ValueError, match=rf"depth is {depth}.*the 6 layers"):
        made(grown(FOLDER, depth=depth))


@pytest.mark.slow
def test_what_is_new_learns_at_once() -> None:
    start = grown(FOLDER, depth=12)
    run = LanguageModeling("lm_chat_large", start, chat=True, rows=2, steps=4, seed=0)
    run.loss(0)[0].backward()
    for index, layer in enumerate(run.model.model.layers):
        for projection in (layer.self_attn.o_proj, layer.mlp.down_proj):
            grad = projection.weight.grad
            assert (grad is not None and grad.any()) == (index % 2 == 1)


def test_a_fresh_model_has_the_size_that_is_asked_for() -> None:
    config = made(fresh(width=96, depth=4)).config
    assert (config.hidden_size, config.intermediate_size, config.num_hidden_layers) == (96, 256, 4)
