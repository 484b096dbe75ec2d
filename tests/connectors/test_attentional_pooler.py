"""The attentional pooler against torch's own attention, and its mask against cutting out."""

import pytest
import torch
from torch import nn

from isthmus.axes import Patches
from isthmus.connectors.attentional_pooler import AttentionalPooler

D_VISION, D_TEXT, NUM_PATCHES = 12, 20, 10
CONFIG = AttentionalPooler.Config(num_queries=5, num_heads=4, d_head=4)
# Two ways of the same sums round differently.
TOLERANCE = 1e-5


def built(config: AttentionalPooler.Config = CONFIG) -> AttentionalPooler:
    pooler = config.build(d_vision=D_VISION, d_text=D_TEXT, grid=(2, 5)).eval()
    assert isinstance(pooler, AttentionalPooler)
    return pooler


class Reference(nn.Module):
    """The pooler in the words of open_clip: torch's attention with keys of another width."""

    def __init__(self, pooler: AttentionalPooler) -> None:
        super().__init__()
        width = 16
        self.query = nn.Parameter(pooler.queries.detach().clone())
        self.attn = nn.MultiheadAttention(width, 4, kdim=D_VISION, vdim=D_VISION, batch_first=True)
        self.ln_q, self.ln_k, self.ln_post = pooler.query_norm, pooler.patch_norm, pooler.norm
        self.proj = pooler.projection
        with torch.no_grad():
            self.attn.q_proj_weight.copy_(pooler.query.weight)
            self.attn.k_proj_weight.copy_(pooler.key.weight)
            self.attn.v_proj_weight.copy_(pooler.value.weight)
            # The middle third is the key bias: whatever it is, nothing changes.
            biases = [pooler.query.bias, torch.randn(width), pooler.value.bias]
            self.attn.in_proj_bias.copy_(torch.cat(biases))
            self.attn.out_proj.weight.copy_(pooler.output.weight)
            self.attn.out_proj.bias.copy_(pooler.output.bias)

    def forward(self, features: torch.Tensor, padding: torch.Tensor | None = None) -> torch.Tensor:
        keys = self.ln_k(features)
        asking = self.ln_q(self.query).expand(len(features), -1, -1)
        gathered = self.attn(asking, keys, keys, key_padding_mask=padding)[0]
        return self.proj(self.ln_post(gathered))


def disturbed() -> AttentionalPooler:
    """With norms and biases that are no longer ones and zeros."""
    pooler = built()
    for parameter in pooler.parameters():
        if parameter.ndim == 1:
            nn.init.normal_(parameter, mean=0.5)
    return pooler


@pytest.mark.parametrize("masked", [False, True])
def test_tokens_and_gradients_equal_those_of_torchs_attention(masked: bool) -> None:
    pooler = disturbed()
    reference = Reference(pooler)
    mask = torch.rand(3, NUM_PATCHES) < 0.6 if masked else None
    if mask is not None:
        mask[:, 0] = True
    features = torch.randn(3, NUM_PATCHES, D_VISION)
    ours, theirs = features.clone().requires_grad_(), features.clone().requires_grad_()
    found = pooler(Patches(features=ours, grid=(2, 5), mask=mask))
    expected = reference(theirs, None if mask is None else ~mask)
    torch.testing.assert_close(found, expected, atol=TOLERANCE, rtol=TOLERANCE)
    cotangent = torch.randn_like(found)
    (found * cotangent).sum().backward()
    (expected * cotangent).sum().backward()
    attention = reference.attn
    pairs = {
        "features": (ours.grad, theirs.grad),
        "queries": (pooler.queries.grad, reference.query.grad),
        "query": (pooler.query.weight.grad, attention.q_proj_weight.grad),
        "key": (pooler.key.weight.grad, attention.k_proj_weight.grad),
        "value": (pooler.value.weight.grad, attention.v_proj_weight.grad),
        "output": (pooler.output.weight.grad, attention.out_proj.weight.grad),
    }
    for name, (one, other) in pairs.items():
        assert one is not None, name
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4, msg=name)


def test_padding_changes_nothing() -> None:
    pooler = built()
    features = torch.randn(1, 4, D_VISION)
    alone = pooler(Patches(features=features, grid=(2, 2)))
    # The same four patches at the top left of a grid of 2 x 3, noise beside them.
    padded = torch.full((1, 2, 3, D_VISION), 1e4)
    padded[:, :, :2] = features.view(1, 2, 2, D_VISION)
    mask = torch.tensor([[True, True, False, True, True, False]])
    read = pooler.read(Patches(features=padded.flatten(1, 2), grid=(2, 3), mask=mask))
    torch.testing.assert_close(read.features, alone, atol=TOLERANCE, rtol=0)
    assert read.mask is None


def test_the_patches_of_all_frames_are_read() -> None:
    pooler = built()
    frames = torch.randn(1, 3, NUM_PATCHES, D_VISION)
    clip = Patches(features=frames.flatten(1, 2), grid=(2, 5), num_frames=3)
    tokens = pooler(clip)
    assert tokens.shape == (1, 5, D_TEXT)
    # Without positions, frames are a set.
    backwards = Patches(features=frames.flip(1).flatten(1, 2), grid=(2, 5), num_frames=3)
    torch.testing.assert_close(pooler(backwards), tokens, atol=TOLERANCE, rtol=0)
    frames[:, 2] += torch.randn(NUM_PATCHES, D_VISION)
    changed = pooler(Patches(features=frames.flatten(1, 2), grid=(2, 5), num_frames=3))
    assert (changed - tokens).abs().max() > 1e-3


def test_the_defaults_are_coca_s() -> None:
    pooler = AttentionalPooler.Config().build(d_vision=768, d_text=512, grid=(16, 16))
    assert pooler.config.num_tokens((16, 16)) == 256
    assert pooler(Patches(features=torch.randn(1, 256, 768), grid=(16, 16))).shape == (1, 256, 512)


@pytest.mark.parametrize("name", ["num_queries", "num_heads", "d_head"])
def test_a_count_below_one_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"attentional_pooler.{name} is 0; expected 1 or more"):
        AttentionalPooler.Config(**{name: 0})
