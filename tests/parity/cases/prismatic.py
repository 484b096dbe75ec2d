"""Projectors of Prismatic VLMs."""

from isthmus.shipping.importers import prismatic
from tests.parity.cases._connector import tokens_of
from tests.parity.golden import Computed, Golden


def _projector(golden: Golden) -> Computed:
    return tokens_of(golden, *prismatic.projector(golden.arguments))


CASES = {
    f"prismatic.util.nn_utils.{name}": _projector
    for name in ("LinearProjector", "MLPProjector", "FusedMLPProjector")
}
