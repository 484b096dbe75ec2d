"""OpenFlamingo's Perceiver resampler and gated cross-attention."""

import torch
from einops import rearrange
from torch import Tensor

from isthmus.axes import Patches
from isthmus.fusion.gated_cross_attention import GatedBlock, Media
from isthmus.shipping.importers import openflamingo
from tests.parity.cases._connector import gradients
from tests.parity.cases._resampler import resampled
from tests.parity.golden import Computed, Golden


def _clips(features: Tensor) -> Patches:
    """Its axes: samples, media of a sample, frames, patches, width."""
    samples, media, frames, patches, _ = features.shape
    return Patches(
        features=rearrange(features, "b t f p d -> (b t) (f p) d"),
        grid=(1, patches),
        num_frames=frames,
        media_index=torch.arange(media).repeat(samples),
    )


def _resampler(golden: Golden) -> Computed:
    config = openflamingo.resampler(golden.arguments)
    return resampled(golden, config, openflamingo.RESAMPLER, _clips)


def _gated(golden: Golden) -> Computed:
    inputs, names = golden.inputs, openflamingo.GATED_BLOCK
    config = openflamingo.gated_cross_attention(golden.arguments)
    block = GatedBlock(config, golden.arguments["dim"], golden.arguments["dim_visual"]).eval()
    block.load_state_dict(names.to_ours(golden.weights))
    tokens = inputs["media"].clone().requires_grad_()
    states = inputs["text"].clone().requires_grad_()
    marks = inputs["media_locations"]
    sees_all = config.sees == "all"

    def media(time: Tensor, *, all_of_them: bool = sees_all) -> Media:
        # Every slot holds media here, also those that no word marks.
        first, last = torch.zeros_like(time), torch.full_like(time, tokens.shape[1])
        return Media(tokens, time, first, last, sees_all=all_of_them)

    located = media(marks.cumsum(1))
    hidden = block(states, located)
    step = inputs["text_step"]
    after = media(marks.sum(1, keepdim=True).expand(-1, step.shape[1]))
    # Without locations nothing is masked: each word comes after all media.
    behind = torch.full_like(marks, tokens.shape[1], dtype=torch.long)
    unmasked = media(behind, all_of_them=True)
    outputs = {
        "attention": block.attend(states, located),
        "cached_step": block(step, after),
        "hidden": hidden,
        "no_locations": block(states, unmasked),
    }
    grads = gradients(golden, hidden, block, names, {"media": tokens, "text": states})
    return Computed({name: value.detach() for name, value in outputs.items()}, grads)


CASES = {
    "open_flamingo.src.helpers.PerceiverResampler": _resampler,
    "open_flamingo.src.helpers.GatedCrossAttentionBlock": _gated,
}
