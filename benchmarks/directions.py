"""Where things of a clip move, asked long enough to be learned.

`python -m benchmarks.directions --directory DIR --output FILE`

For each seed, the twin of Honeybee that `python -m benchmarks.clips` left goes on with questions
about directions alone, once with pictures and once without. What is missing of those before is done
first; the command goes on where an earlier one stopped.
"""

import tyro

from benchmarks import clips
from benchmarks.further import Options, compared, is_blind, twins, went_on
from benchmarks.outcome import publish
from isthmus.training.data import MicroworldData

BEFORE = ("honeybee_c_abstractor",)
ASKED = MicroworldData(split="test", num=600, tasks=("direction",))
METRICS = ("accuracy_direction",)


def main(options: Options) -> None:
    """Does what is left of the study, and makes its table."""
    of_clips = went_on(options, twins(options, BEFORE), "clips", clips.ASKED)
    seeing = [each for each in of_clips if not is_blind(each)]
    table = compared(went_on(options, seeing, "directions", ASKED), METRICS)
    publish(table, options.output, command="python -m benchmarks.directions")


if __name__ == "__main__":
    main(tyro.cli(Options, prog="python -m benchmarks.directions", description=__doc__))
