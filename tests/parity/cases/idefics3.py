"""The connector of Idefics3 and SmolVLM, as transformers has them."""

from isthmus.axes import Patches
from isthmus.connectors.pixel_shuffle import joined
from isthmus.shipping.importers import idefics3
from tests.parity.cases._connector import grid_of, tokens_of
from tests.parity.golden import Computed, Golden


def _connector(golden: Golden) -> Computed:
    factor = golden.arguments["scale_factor"]
    computed = tokens_of(golden, idefics3.connector(factor), idefics3.CONNECTOR)
    patches = Patches(features=golden.inputs["features"], grid=grid_of(golden))
    return Computed(computed.outputs | {"shuffled": joined(patches, factor)}, computed.grads)


CASES = {
    f"transformers.models.{name}": _connector
    for name in (
        "idefics3.modeling_idefics3.Idefics3Connector",
        "smolvlm.modeling_smolvlm.SmolVLMConnector",
    )
}
