"""CoCa's vision transformer equals transformers' CLIP, whose published layout is the same."""

import torch
from torch import Tensor
from transformers import CLIPVisionConfig, CLIPVisionModel

from isthmus.vision.coca import CocaVisionModel
from isthmus.vision.configuration import CocaVisionConfig

SIZES = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "image_size": 32,
    "patch_size": 8,
}
TOLERANCE = 1e-5


def stock() -> CLIPVisionModel:
    # The exact GELU, as in open_clip; CLIP's own weights want another.
    model = CLIPVisionModel(CLIPVisionConfig(**SIZES, hidden_act="gelu")).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


def ours_of(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights of transformers' CLIP in our layout."""
    found = {
        "embeddings.class_token": weights["embeddings.class_embedding"][None],
        "embeddings.positions": weights["embeddings.position_embedding.weight"],
        "embeddings.projection.weight": weights["embeddings.patch_embedding.weight"],
        "pre_norm.weight": weights["pre_layrnorm.weight"],
        "pre_norm.bias": weights["pre_layrnorm.bias"],
    }
    names = {
        "attention_norm": "layer_norm1",
        "attention.output": "self_attn.out_proj",
        "feed_forward_norm": "layer_norm2",
        "feed_forward.fc1": "mlp.fc1",
        "feed_forward.fc2": "mlp.fc2",
    }
    for block in range(SIZES["num_hidden_layers"]):
        theirs = f"encoder.layers.{block}"
        for kind in ("weight", "bias"):
            parts = [weights[f"{theirs}.self_attn.{each}_proj.{kind}"] for each in "qkv"]
            found[f"layers.{block}.attention.qkv.{kind}"] = torch.cat(parts)
            for our, their in names.items():
                found[f"layers.{block}.{our}.{kind}"] = weights[f"{theirs}.{their}.{kind}"]
    return found


def test_tokens_and_gradients_equal_those_of_the_stock_model() -> None:
    theirs = stock()
    ours = CocaVisionModel(CocaVisionConfig(**SIZES)).eval()
    ours.load_state_dict(ours_of(theirs.state_dict()))
    pixels = torch.randn(2, 3, 32, 32)
    states = [model(pixel_values=pixels).last_hidden_state for model in (ours, theirs)]
    torch.testing.assert_close(*states, atol=TOLERANCE, rtol=0)
    cotangent = torch.randn_like(states[0])
    for each in states:
        (each * cotangent).sum().backward()
    their_grads = {n: p.grad for n, p in theirs.named_parameters() if p.grad is not None}
    expected = ours_of(their_grads)
    assert set(expected) == {name for name, _ in ours.named_parameters()}
    for name, parameter in ours.named_parameters():
        allowed = TOLERANCE * max(1.0, expected[name].abs().max().item())
        torch.testing.assert_close(parameter.grad, expected[name], atol=allowed, rtol=0)


def test_images_of_another_size_equal_those_of_the_stock_model() -> None:
    theirs = stock()
    ours = CocaVisionModel(CocaVisionConfig(**SIZES)).eval()
    ours.load_state_dict(ours_of(theirs.state_dict()))
    pixels = torch.randn(1, 3, 48, 24)
    with torch.no_grad():
        found, expected = (
            model(pixel_values=pixels, interpolate_pos_encoding=True).last_hidden_state
            for model in (ours, theirs)
        )
    assert found.shape == (1, 1 + 6 * 3, 32)
    torch.testing.assert_close(found, expected, atol=TOLERANCE, rtol=0)


def test_without_a_class_token_there_are_only_patches() -> None:
    model = CocaVisionModel(CocaVisionConfig(**SIZES, use_class_token=False)).eval()
    assert model(torch.randn(1, 3, 32, 32)).last_hidden_state.shape == (1, 16, 32)
    assert "embeddings.class_token" not in model.state_dict()
    assert model.embeddings.positions.shape == (16, 32)


def test_the_defaults_are_the_papers_256_patches_and_86_million_parameters() -> None:
    with torch.device("meta"):
        model = CocaVisionModel(CocaVisionConfig())
    width, inner, patches = 768, 3072, 256
    block = 4 * width**2 + 4 * width + 2 * width * inner + inner + width + 4 * width
    embedding = 3 * 18**2 * width + width + (1 + patches) * width
    expected = 12 * block + embedding + 2 * width
    assert sum(p.numel() for p in model.parameters()) == expected == 86_000_640
