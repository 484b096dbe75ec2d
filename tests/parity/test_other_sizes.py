"""The command runs golden files of other sizes and seeds, written here by transformers' classes."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import (
    Blip2QFormerConfig,
    Blip2QFormerModel,
    Idefics2Config,
    Idefics3Config,
    IdeficsConfig,
    InstructBlipQFormerConfig,
    InstructBlipQFormerModel,
    LlavaConfig,
    SmolVLMConfig,
)
from transformers.models.idefics.perceiver import IdeficsPerceiverResampler
from transformers.models.idefics2.modeling_idefics2 import Idefics2Connector
from transformers.models.idefics3.modeling_idefics3 import Idefics3Connector
from transformers.models.llava.modeling_llava import LlavaMultiModalProjector
from transformers.models.smolvlm.modeling_smolvlm import SmolVLMConnector

from tests.parity.__main__ import main

Outputs = dict[str, Tensor]
MODELS = "transformers.models"


@dataclass(frozen=True, kw_only=True)
class Reference:
    """A published class at some sizes, its inputs, and what it gives for them, primary first."""

    name: str
    arguments: dict[str, Any]
    module: nn.Module
    inputs: dict[str, Tensor]
    run: Callable[..., Outputs]

    def write(self, folder: Path, seed: int) -> None:
        """Writes a golden file."""
        torch.manual_seed(seed)
        self.module.zero_grad()
        for parameter in self.module.parameters():
            nn.init.normal_(parameter, mean=float(parameter.ndim == 1), std=0.2)
        given = {
            name: torch.randn_like(value).requires_grad_() if value.is_floating_point() else value
            for name, value in self.inputs.items()
        }
        outputs = self.run(self.module.eval(), **given)
        primary = next(iter(outputs.values()))
        cotangent = torch.randn_like(primary)
        (primary * cotangent).sum().backward()
        learned = {n: v for n, v in given.items() if v.grad is not None}
        tensors = {
            **{f"weights/{n}": v for n, v in self.module.state_dict().items()},
            **{f"inputs/{n}": v.detach() for n, v in given.items()},
            "inputs/cotangent": cotangent,
            **{f"outputs/{n}": v.detach() for n, v in outputs.items()},
            **{
                f"grads/{n}": p.grad
                for n, p in self.module.named_parameters()
                if p.grad is not None
            },
            **{f"grads/inputs/{n}": v.grad for n, v in learned.items()},
        }
        about = json.dumps({"class": self.name, "args": self.arguments})
        copies = {name: value.clone().contiguous() for name, value in tensors.items()}
        save_file(copies, folder / f"{seed}.safetensors", metadata={"golden": about})


def llava() -> Reference:
    arguments = {
        "vision_config": {"hidden_size": 24},
        "text_config": {"hidden_size": 32},
        "projector_hidden_act": "gelu",
    }
    parts = {"vision_config": "clip_vision_model", "text_config": "llama"}
    config = LlavaConfig(
        **{n: {**arguments[n], "model_type": kind} for n, kind in parts.items()},
        projector_hidden_act="gelu",
    )
    return Reference(
        name=f"{MODELS}.llava.modeling_llava.LlavaMultiModalProjector",
        arguments=arguments,
        module=LlavaMultiModalProjector(config),
        inputs={"features": torch.zeros(3, 15, 24)},
        run=lambda module, features: {"tokens": module(features)},
    )


def shuffle(name: str, family: Any, connector: Any) -> Reference:
    config = family(
        scale_factor=3,
        vision_config={"hidden_size": 10},
        text_config={"model_type": "llama", "hidden_size": 32},
    )
    return Reference(
        name=f"{MODELS}.{name}",
        arguments={"scale_factor": 3},
        module=connector(config),
        inputs={"features": torch.zeros(2, 81, 10)},
        run=lambda module, features: {
            "tokens": module(features),
            "shuffled": module.pixel_shuffle(features, 3),
        },
    )


def idefics() -> Reference:
    own = {"qk_layer_norms_perceiver": True}
    config = IdeficsConfig(vision_config={"embed_dim": 20}, perceiver_config=own)
    arguments = {
        "config": {"perceiver_config": own},
        "embed_dim": 20,
        "depth": 1,
        "n_heads": 3,
        "head_dim": 8,
        "n_latents": 4,
    }
    return Reference(
        name=f"{MODELS}.idefics.perceiver.IdeficsPerceiverResampler",
        arguments=arguments,
        module=IdeficsPerceiverResampler(config, 20, 1, 3, 8, 4),
        inputs={"features": torch.zeros(3, 11, 20)},
        run=lambda module, features: {"tokens": module(features)},
    )


def idefics2() -> Reference:
    perceiver = {
        "hidden_size": 32,
        "rms_norm_eps": 1e-5,
        "resampler_n_latents": 3,
        "resampler_depth": 2,
        "resampler_n_heads": 4,
        "resampler_head_dim": 10,
        "num_key_value_heads": 2,
        "hidden_act": "silu",
    }
    text = {"hidden_size": 32, "intermediate_size": 44, "hidden_act": "silu"}
    config = Idefics2Config(
        vision_config={"hidden_size": 20},
        text_config={"model_type": "mistral", **text},
        perceiver_config=perceiver,
    )
    config.perceiver_config._attn_implementation = "eager"
    return Reference(
        name=f"{MODELS}.idefics2.modeling_idefics2.Idefics2Connector",
        arguments={"perceiver_config": perceiver, "text_config": text},
        module=Idefics2Connector(config),
        inputs={
            "features": torch.zeros(2, 13, 20),
            "attention_mask": (torch.arange(13) < torch.tensor([[13], [6]])).long(),
        },
        run=lambda module, features, attention_mask: {
            "tokens": module(features, attention_mask.bool())
        },
    )


QFORMER = {
    "hidden_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 3,
    "intermediate_size": 40,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
    "layer_norm_eps": 1e-12,
    "cross_attention_frequency": 2,
    "encoder_hidden_size": 20,
    "vocab_size": 30,
    "max_position_embeddings": 12,
}


def blip2() -> Reference:
    config = Blip2QFormerConfig(**QFORMER, use_qformer_text_input=False)
    mask = (torch.arange(14) < torch.tensor([[14], [9], [2]])).long()

    def run(module: Any, query_embeds: Tensor, encoder_hidden_states: Tensor, **masks: Any) -> Any:
        given = {"query_embeds": query_embeds, "encoder_hidden_states": encoder_hidden_states}
        return {
            "hidden": module(**given, **masks).last_hidden_state,
            "no_mask": module(**given).last_hidden_state,
        }

    return Reference(
        name="transformers.Blip2QFormerModel",
        arguments={**QFORMER, "use_qformer_text_input": False, "query_length": 6},
        module=Blip2QFormerModel._from_config(config, attn_implementation="eager"),
        inputs={
            "query_embeds": torch.zeros(3, 6, 24),
            "encoder_hidden_states": torch.zeros(3, 14, 20),
            "encoder_attention_mask": mask,
        },
        run=run,
    )


def instructblip() -> Reference:
    config = InstructBlipQFormerConfig(**QFORMER)

    def run(module: Any, input_ids: Tensor, attention_mask: Tensor, **given: Any) -> Any:
        asked = {"input_ids": input_ids, "attention_mask": attention_mask}
        return {
            "hidden": module(**asked, **given).last_hidden_state,
            "queries_only": module(input_ids=None, **given).last_hidden_state,
        }

    words = torch.arange(1, 9).repeat(2, 1)
    return Reference(
        name="transformers.InstructBlipQFormerModel",
        arguments={**QFORMER, "query_length": 4},
        module=InstructBlipQFormerModel._from_config(config, attn_implementation="eager"),
        inputs={
            "query_embeds": torch.zeros(2, 4, 24),
            "encoder_hidden_states": torch.zeros(2, 10, 20),
            "encoder_attention_mask": (torch.arange(10) < torch.tensor([[10], [7]])).long(),
            "input_ids": words,
            "attention_mask": (torch.arange(12) < torch.tensor([[12], [9]])).long(),
        },
        run=run,
    )


REFERENCES: dict[str, Callable[[], Reference]] = {
    "llava": llava,
    "idefics": idefics,
    "idefics2": idefics2,
    "idefics3": lambda: shuffle(
        "idefics3.modeling_idefics3.Idefics3Connector", Idefics3Config, Idefics3Connector
    ),
    "smolvlm": lambda: shuffle(
        "smolvlm.modeling_smolvlm.SmolVLMConnector", SmolVLMConfig, SmolVLMConnector
    ),
    "blip2": blip2,
    "instructblip": instructblip,
}


@pytest.mark.parametrize("name", REFERENCES)
def test_files_of_other_sizes_and_seeds_pass(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reference = REFERENCES[name]()
    for seed in (1, 2):
        reference.write(tmp_path, seed)
    assert main(tmp_path) == 0, capsys.readouterr().out
    assert capsys.readouterr().out.splitlines()[-1] == "2 passed, 0 failed"
