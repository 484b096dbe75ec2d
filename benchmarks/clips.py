"""Clips in small: what moves where, what comes first, how often, and all of it in a caption.

`python -m benchmarks.clips --directory DIR --output FILE`

For each seed, the twin of Honeybee goes on to learn clips, each of whose frames it reads as an
image of its own, and that of PaLM2-VAdapter, which reads all frames into as many tokens as an image
has. Both do so once more without pictures.
"""

import tyro

from benchmarks.further import Options, measured
from benchmarks.outcome import publish
from isthmus.recipes.microworld._shared import CLIPS
from isthmus.training.data import MicroworldData

BEFORE = ("honeybee_c_abstractor", "vadapter")
"""Twins that answer questions; each has one that goes on from it."""
ASKED = MicroworldData(split="test", num=600, tasks=CLIPS)
METRICS = (
    *("clip_accuracy", "accuracy_direction", "accuracy_order", "accuracy_visits"),
    "clip_caption_facts",
)


def main(options: Options) -> None:
    """Does what is left of the study, and makes its table."""
    table = measured(options, BEFORE, "clips", ASKED, METRICS)
    publish(table, options.output, command="python -m benchmarks.clips")


if __name__ == "__main__":
    main(tyro.cli(Options, prog="python -m benchmarks.clips", description=__doc__))
