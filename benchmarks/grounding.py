"""CogVLM-Grounding in small: boxes of phrases, phrases of boxes, captions and answers with boxes.

`python -m benchmarks.grounding --directory DIR --output FILE`

For each seed, the twin of CogVLM goes on to learn the four tasks, once with pictures and once
without, where there is nothing to learn: words go through the frozen language model alone. So does
the one whose patches have positions of their own, and that of LLaVA-1.5, whose patches have them,
too, and whose language model learns. Those that `python -m benchmarks.papers` left in the
same folder are taken as they are. The command goes on where an earlier one stopped.
"""

import tyro

from benchmarks.further import Options, measured
from benchmarks.outcome import publish
from isthmus.recipes.microworld._shared import GROUNDING
from isthmus.training.data import MicroworldData

BEFORE = ("cogvlm", "cogvlm_sequential", "llava_1_5")
"""Twins that answer questions; each has one that goes on from it."""
ASKED = MicroworldData(split="test", num=600, tasks=GROUNDING)
METRICS = (
    *("box_accuracy", "region_accuracy", "accuracy_grounded_vqa"),
    *("phrase_box_f1", "grounded_caption_facts"),
)


def main(options: Options) -> None:
    """Does what is left of the study, and makes its table."""
    table = measured(options, BEFORE, "grounding", ASKED, METRICS)
    publish(table, options.output, command="python -m benchmarks.grounding")


if __name__ == "__main__":
    main(tyro.cli(Options, prog="python -m benchmarks.grounding", description=__doc__))
