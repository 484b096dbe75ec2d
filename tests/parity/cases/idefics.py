"""Idefics' Perceiver resampler, as transformers has it."""

from isthmus.shipping.importers import idefics
from tests.parity.cases._resampler import in_a_row, resampled
from tests.parity.golden import Computed, Golden


def _resampler(golden: Golden) -> Computed:
    given = golden.arguments
    own = {f"resampler_{name}": given[name] for name in ("n_latents", "depth", "n_heads")}
    config = idefics.resampler(
        {
            **given["config"]["perceiver_config"],
            **own,
            "resampler_head_dim": given["head_dim"],
        }
    )
    return resampled(golden, config, idefics.RESAMPLER, in_a_row)


CASES = {"transformers.models.idefics.perceiver.IdeficsPerceiverResampler": _resampler}
