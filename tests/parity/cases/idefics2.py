"""Idefics2's connector and the resampler in it, as transformers has them."""

from torch import Tensor

from isthmus.axes import Patches
from isthmus.shipping.importers import idefics2
from tests.parity.cases._resampler import in_a_row, resampled
from tests.parity.golden import Computed, Golden


def _resampler(golden: Golden) -> Computed:
    config = idefics2.resampler(golden.arguments["perceiver_config"])
    return resampled(golden, config, idefics2.RESAMPLER, lambda x: _padded(golden, x))


def _connector(golden: Golden) -> Computed:
    given = golden.arguments
    config = idefics2.connector(given["perceiver_config"], given["text_config"])
    return resampled(golden, config, idefics2.CONNECTOR, lambda x: _padded(golden, x))


def _padded(golden: Golden, features: Tensor) -> Patches:
    return in_a_row(features, golden.inputs["attention_mask"].bool())


PLACE = "transformers.models.idefics2.modeling_idefics2"
CASES = {
    f"{PLACE}.Idefics2PerceiverResampler": _resampler,
    f"{PLACE}.Idefics2Connector": _connector,
}
