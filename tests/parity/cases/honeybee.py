"""Projectors of Honeybee."""

from isthmus.shipping.importers import honeybee
from tests.parity.cases._connector import tokens_of
from tests.parity.golden import Computed, Golden


def _projector(golden: Golden) -> Computed:
    return tokens_of(golden, *honeybee.projector(golden.arguments))


CASES = {
    f"honeybee.projectors.{name}": _projector
    for name in ("MLPProjector", "CAbstractor", "DAbstractor", "HoneybeeVisualProjectorModel")
}
