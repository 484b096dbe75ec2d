"""CogVLM-Grounding in small: boxes of phrases, phrases of boxes, captions and answers with boxes.

`python -m benchmarks.grounding --directory DIR --output FILE`

For each seed, the twin of CogVLM goes on to learn the four tasks, once with pictures and once
without, where there is nothing to learn: words go through the frozen language model alone. So does
that of LLaVA-1.5, whose language model learns. Those that `python -m benchmarks.papers` left in the
same folder are taken as they are. The command goes on where an earlier one stopped.
"""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import final

import tyro
from rich.console import Console

from benchmarks import papers
from benchmarks.outcome import publish
from isthmus import recipes
from isthmus.cli._quiet import hush_libraries
from isthmus.recipes.microworld._shared import GROUNDING
from isthmus.study.execute import train_and_evaluate
from isthmus.study.run import Run, grid, run
from isthmus.study.table import tabulate
from isthmus.training.stage import MicroworldData

BEFORE = ("cogvlm", "llava_1_5")
"""Twins that answer questions; each has one that goes on from it."""
NUM_TEST = 600
METRICS = (
    *("box_accuracy", "region_accuracy", "accuracy_grounded_vqa"),
    *("phrase_box_f1", "grounded_caption_facts"),
)


@final
@dataclass(frozen=True)
class Options:
    """Measure twins on the four tasks of CogVLM-Grounding."""

    directory: Path = Path("runs/papers")
    """Folder of the study: a folder for each run."""
    output: Path | None = None
    """JSON file that gets the numbers, too."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """With which each is trained."""


def main(options: Options) -> None:
    """Does what is left of the study, and makes its table."""
    hush_libraries()
    console = Console(highlight=False, soft_wrap=True)
    twins = {name: recipes.resolve(f"microworld.{name}") for name in BEFORE}
    before = grid(twins, options.seeds, options.directory)
    run(before, papers.execute(), console=console)
    after = [arm for each in before for arm in grounded(each, options.directory)]
    asked = MicroworldData(split="test", num=NUM_TEST, tasks=GROUNDING)
    run(after, train_and_evaluate(papers.benchmark(asked), batch_size=64), console=console)
    table = {
        metric: {
            line.name: asdict(line)
            for line in tabulate(
                after, metric=metric, reference=f"{BEFORE[0]}_grounding_blind"
            ).lines
        }
        for metric in METRICS
    }
    publish(table, options.output, command="python -m benchmarks.grounding")


def grounded(before: Run, directory: Path) -> list[Run]:
    """Returns the runs that go on from one: with pictures, and without.

    Args:
        before: of a twin that answers.
        directory: of the study.
    """
    arm = f"{before.name}_grounding"
    twin = recipes.resolve(f"microworld.{arm}")
    arms = {
        name: replace(each, start=before.folder)
        for name, each in ((arm, twin), (f"{arm}_blind", twin.blind()))
    }
    return grid(arms, (before.recipe.seed,), directory)


if __name__ == "__main__":
    main(tyro.cli(Options, prog="python -m benchmarks.grounding"))
