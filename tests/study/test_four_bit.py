"""A language model of four bits in shapes: what is packed, what stays, and what a plan says."""

from dataclasses import replace
from math import ceil
from typing import Any

import pytest
import torch
from torch import nn
from transformers import AutoModel, GPT2Config, PreTrainedConfig, T5Config
from transformers.pytorch_utils import Conv1D

from isthmus import recipes
from isthmus.modeling.lora import Lora, add_lora, lora_parameters
from isthmus.modeling.parts import ModelPart
from isthmus.study.architecture import architecture, on_meta
from isthmus.study.devices import DEVICES
from isthmus.study.four_bit import keep_in_four_bits
from isthmus.study.plan import Assumed, plan
from isthmus.study.shapes import Shapes, backward
from isthmus.training.models import ModelConfig
from isthmus.training.stage import Part

QUICK = recipes.resolve("microworld.quickstart")


def test_linear_layers_are_packed_and_all_else_stays() -> None:
    model: Any = on_meta(architecture(QUICK.model))
    part = model.parts()["language_model"]
    body = model.model.language_model
    add_lora(part, Lora(rank=2))
    updates = lora_parameters(part)
    for parameter in part.parameters():
        parameter.requires_grad_(any(parameter is update for update in updates))
    frozen = [
        module.weight.numel()
        for module in body.modules()
        if isinstance(module, nn.Linear) and not module.weight.requires_grad
    ]
    assert len(frozen) == 7 * body.config.num_hidden_layers
    others = [p for p in body.parameters() if p.ndim == 1 or p.requires_grad]
    keep_in_four_bits(part)
    packed = [buffer.nbytes for name, buffer in body.named_buffers() if name.endswith("packed")]
    assert packed == [n // 2 + 4 * ceil(n / 64) for n in frozen]
    words = body.get_input_embeddings().weight
    assert {id(p) for p in body.parameters()} == {id(p) for p in [*others, words]}
    assert isinstance(model.lm_head, nn.Linear)


def test_gradients_pass_through_and_nothing_unpacked_is_kept() -> None:
    layer = nn.Sequential(nn.Linear(64, 640, bias=False, device="meta").requires_grad_(False))
    model = nn.Module()
    model.layers = layer
    keep_in_four_bits(ModelPart([model]))
    states = torch.empty(2, 64, device="meta", requires_grad=True)
    with Shapes() as shapes:
        made = model.layers(states)
        after = shapes.bytes
        backward(made.sum())
    assert (made.shape, made.dtype) == ((2, 640), torch.float32)
    assert states.grad is not None
    assert states.grad.shape == states.shape
    unpacked = 2 * 64 * 640
    assert after < unpacked < shapes.most_bytes
    assert shapes.most_bytes > 3 * unpacked  # by way of float32


@pytest.mark.parametrize(
    ("language", "whole"),
    [
        (T5Config(num_layers=1, d_model=16, d_kv=4, d_ff=32, num_heads=4, vocab_size=32), {"wo"}),
        (GPT2Config(n_layer=1, n_embd=16, n_head=4, vocab_size=32), set()),
    ],
    ids=["t5", "gpt2"],
)
@pytest.mark.parametrize("updated", [False, True])
def test_other_families_run_with_four_bits(
    language: PreTrainedConfig, whole: set[str], updated: bool
) -> None:
    with torch.device("meta"):
        body: Any = AutoModel.from_config(language)
    part = ModelPart([body])
    if updated:  # and left as they are by this stage
        add_lora(part, Lora(rank=2))
    body.requires_grad_(False)
    keep_in_four_bits(part)
    linear = nn.Linear | Conv1D
    left = {n for n, m in body.named_modules() if isinstance(m, linear) and "lora_" not in n}
    assert {n.removesuffix(".base_layer").rpartition(".")[2] for n in left} == whole
    assert len(lora_parameters(part)) == (2 * _num_linear(language) if updated else 0)
    ids = torch.zeros(1, 4, dtype=torch.long)
    decoded = {"decoder_input_ids": ids} if language.is_encoder_decoder else {}
    with Shapes():
        states = body(input_ids=ids, **decoded).last_hidden_state
    assert states.shape == (1, 4, 16)


def _num_linear(language: PreTrainedConfig) -> int:
    with torch.device("meta"):
        body = AutoModel.from_config(language)
    return sum(isinstance(module, nn.Linear | Conv1D) for module in body.modules())


def test_four_bits_are_not_shared_out() -> None:
    assert isinstance(QUICK.model, ModelConfig)
    (stage,) = QUICK.stages
    recipe = replace(
        QUICK,
        model=replace(QUICK.model, four_bit=True),
        stages=(replace(stage, train=stage.train[:1]),),
        save="trained",
    )
    with pytest.raises(ValueError, match="four bits are not shared out"):
        plan(recipe, DEVICES["a100"], Assumed(sharded=True))


def test_a_plan_counts_four_bits_as_such() -> None:
    (stage,) = QUICK.stages
    learned = (stage.train[0], Part(name="language_model", lr=1e-3, lora=Lora(rank=2)))
    # One sample: what goes between such layers keeps the format of what goes in, here float32.
    stage = replace(stage, train=learned, schedule=replace(stage.schedule, batch_size=1))
    assert isinstance(QUICK.model, ModelConfig)
    whole, packed = (
        plan(
            replace(
                QUICK,
                model=replace(QUICK.model, four_bit=four_bit),
                stages=(stage,),
                save="trained",
            ),
            DEVICES["a100"],
            Assumed(text_tokens=20),
        ).stages[0]
        for four_bit in (False, True)
    )
    assert packed.parameters == whole.parameters
    assert packed.trained == whole.trained
    assert packed.flops_per_sample == whole.flops_per_sample
    assert packed.checkpoint_gb == whole.checkpoint_gb
    saved = (4 - 0.5 - 4 / 64) * 0.9 * whole.parameters["language_model"] / 1e9
    assert whole.peak_memory_gb - packed.peak_memory_gb > saved
