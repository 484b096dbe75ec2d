"""What happens in clips, each kind of it asked about long enough to be learned.

`python -m benchmarks.events --directory DIR --output FILE`

For each seed, the twin of Honeybee that `python -m benchmarks.clips` left goes on with questions
about where things move and nothing else; and again from there, with what comes first, and with how
often things come. Each is done once with pictures and once without. What is missing of those before
is done first; the command goes on where an earlier one stopped.
"""

from typing import Any

import tyro

from benchmarks import clips
from benchmarks.further import Options, compared, is_blind, twins, went_on
from benchmarks.outcome import publish
from isthmus.training.data import MicroworldData

BEFORE = ("honeybee_c_abstractor",)
KINDS = {"directions": "direction", "first": "first", "visits": "visits"}
"""What is learned: the end of a twin's name -> the task that asks about it."""


def main(options: Options) -> None:
    """Does what is left of the study, and makes its table."""
    of_clips = went_on(options, twins(options, BEFORE), "clips", clips.ASKED)
    seeing = [each for each in of_clips if not is_blind(each)]
    table: dict[str, Any] = {}
    for what, task in KINDS.items():
        arms = went_on(options, seeing, what, asked(task))
        table |= compared(arms, (f"accuracy_{task}",))
    publish(table, options.output, command="python -m benchmarks.events")


def asked(task: str) -> MicroworldData:
    """Returns the questions of one kind."""
    return MicroworldData(split="test", num=600, tasks=(task,))


if __name__ == "__main__":
    main(tyro.cli(Options, prog="python -m benchmarks.events", description=__doc__))
