"""CogVLM-Chat in small: the same questions answered in a word or in a sentence, as they are asked.

`python -m benchmarks.styles --directory DIR --output FILE`

For each seed, the twin of CogVLM goes on to learn both, once with pictures and once without. Those
that `python -m benchmarks.papers` left in the same folder are taken as they are. The command goes
on where an earlier one stopped.
"""

import tyro

from benchmarks.further import Options, measured
from benchmarks.outcome import publish
from isthmus.evaluation.benchmarks.microworld import STYLED_TASKS
from isthmus.training.data import MicroworldData

BEFORE = ("cogvlm",)
"""The twin that answers questions in a word."""
ASKED = MicroworldData(split="test", num=600, tasks=STYLED_TASKS)
METRICS = ("styled_accuracy", "accuracy_short_answer", "accuracy_chat_answer", "answer_style")


def main(options: Options) -> None:
    """Does what is left of the study, and makes its table."""
    table = measured(options, BEFORE, "chat", ASKED, METRICS)
    publish(table, options.output, command="python -m benchmarks.styles")


if __name__ == "__main__":
    main(tyro.cli(Options, prog="python -m benchmarks.styles", description=__doc__))
