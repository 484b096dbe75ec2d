"""The projector of LLaVA, as transformers has it."""

from isthmus.shipping.importers import llava
from tests.parity.cases._connector import tokens_of
from tests.parity.golden import Computed, Golden


def _projector(golden: Golden) -> Computed:
    activation = golden.arguments["projector_hidden_act"]
    return tokens_of(golden, llava.projector(activation), llava.PROJECTOR)


CASES = {"transformers.models.llava.modeling_llava.LlavaMultiModalProjector": _projector}
