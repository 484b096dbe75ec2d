"""Connectors equal the published code, outputs and gradients, from tensors it computed."""

import pytest
import torch
from torch import Tensor

from isthmus import connectors
from isthmus.axes import Patches
from isthmus.connectors import Connector
from tests.golden_case import OUTPUT_TOLERANCE, Golden, assert_gradients, read

MLP_KEYS = {"layers.linear_1": "0", "layers.linear_2": "2"}
PER_PATCH = {
    # golden file: configuration, and our module name -> theirs
    "hf_llava_projector": (
        {"kind": "mlp"},
        {"layers.linear_1": "linear_1", "layers.linear_2": "linear_2"},
    ),
    "prismatic_mlp": (
        {"kind": "mlp"},
        {ours: f"projector.{theirs}" for ours, theirs in MLP_KEYS.items()},
    ),
    "honeybee_mlp2": (
        {"kind": "mlp", "activation": "silu"},
        {ours: f"net.{theirs}" for ours, theirs in MLP_KEYS.items()},
    ),
    "prismatic_linear": ({"kind": "linear"}, {"projection": "projector"}),
}


def loaded(golden: Golden, config: dict[str, object], names: dict[str, str]) -> Connector:
    connector = connectors.from_dict(config).build(d_vision=48, d_text=64, grid=(6, 6))
    renamed = {
        f"{ours}.{end}": golden.weights[f"{theirs}.{end}"]
        for ours, theirs in names.items()
        for end in ("weight", "bias")
    }
    connector.load_state_dict(renamed)
    return connector


@pytest.mark.parametrize("name", PER_PATCH)
def test_a_map_per_patch_equals_the_published_one(name: str) -> None:
    golden = read(name)
    config, names = PER_PATCH[name]
    connector = loaded(golden, config, names)
    features = golden.inputs["features"].clone().requires_grad_()
    tokens = connector(Patches(features=features, grid=(6, 6)))
    torch.testing.assert_close(tokens, golden.outputs["tokens"], atol=OUTPUT_TOLERANCE, rtol=0)
    (tokens * golden.inputs["cotangent"]).sum().backward()
    found: dict[str, Tensor | None] = {"inputs/features": features.grad}
    for ours, theirs in names.items():
        for end in ("weight", "bias"):
            found[f"{theirs}.{end}"] = connector.get_parameter(f"{ours}.{end}").grad
    assert_gradients(golden.grads, found)


def resampler_names(depth: int) -> dict[str, str]:
    """Our parameter names -> those of OpenFlamingo."""
    names = {"latents": "latents", "norm.weight": "norm.weight", "norm.bias": "norm.bias"}
    for i in range(depth):
        for ours, theirs in {"patch_norm": "norm_media", "latent_norm": "norm_latents"}.items():
            for end in ("weight", "bias"):
                names[f"layers.{i}.{ours}.{end}"] = f"layers.{i}.0.{theirs}.{end}"
        for ours, theirs in {"query": "to_q", "key_value": "to_kv", "output": "to_out"}.items():
            names[f"layers.{i}.{ours}.weight"] = f"layers.{i}.0.{theirs}.weight"
        for end in ("0.weight", "0.bias", "1.weight", "3.weight"):
            names[f"layers.{i}.feed_forward.{end}"] = f"layers.{i}.1.{end}"
    return names


def test_the_resampler_equals_openflamingo() -> None:
    golden = read("openflamingo_perceiver")
    config = {
        "kind": "perceiver_resampler",
        "num_latents": 5,
        "depth": 2,
        "num_heads": 4,
        "d_head": 16,
    }
    connector = connectors.from_dict(config).build(d_vision=48, d_text=48, grid=(6, 6))
    names = resampler_names(2)
    assert set(names.values()) == set(golden.weights)
    # OpenFlamingo hands its latents on as they are: our last map is the identity here.
    identity = {"projection.weight": torch.eye(48), "projection.bias": torch.zeros(48)}
    renamed = {ours: golden.weights[theirs] for ours, theirs in names.items()}
    connector.load_state_dict({**renamed, **identity})
    # Two samples of two images of one frame each: four images here.
    given = golden.inputs["features"].clone().requires_grad_()
    tokens = connector(Patches(features=given.reshape(4, 36, 48), grid=(6, 6)))
    tokens = tokens.reshape(2, 2, 5, 48)
    torch.testing.assert_close(tokens, golden.outputs["tokens"], atol=OUTPUT_TOLERANCE, rtol=0)
    (tokens * golden.inputs["cotangent"]).sum().backward()
    found = {theirs: connector.get_parameter(ours).grad for ours, theirs in names.items()}
    assert_gradients(golden.grads, {**found, "inputs/features": given.grad})
