"""Train, measure and report a small vision-language model in minutes, without a network."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, final

import tyro
from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from isthmus.evaluation.results import Result
    from isthmus.training.result import TrainResult
    from isthmus.training.stage import Recipe

RECIPE = "microworld.quickstart"
_NUM_TEXTS = 64


@final
@dataclass(frozen=True)
class Options:
    """Train, measure and report a small vision-language model in minutes, without a network.

    The same command goes on where an earlier one was interrupted.
    """

    output: Path = Path("runs/quickstart")
    """Folder that gets results.json, report.html and the model."""
    recipe: str = RECIPE
    """Another recipe to measure the same way: a name, or a recipe.json."""
    num_test: int = 1000
    """Test questions, each about a scene of its own; the compositional split gets as many."""
    batch_size: int = 64
    """Answers written at once."""


@final
@dataclass(frozen=True, kw_only=True)
class Measured:
    """What a quick start found out."""

    trained: "TrainResult"
    test: "Result"
    """On test scenes, beside the blind twin and the most frequent answers."""
    compositional: "Result"
    """On combinations that nothing was trained on."""
    eval_seconds: float
    total_seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Returns the content of results.json: the test result's, and what else was measured."""
        compositional: dict[str, Any] = {}
        for name, score in self.compositional.metrics.items():
            compositional[f"{name}_compositional"] = score.value
            interval = [score.interval.low, score.interval.high]
            compositional[f"{name}_compositional_interval"] = interval
        return {
            **self.test.to_dict(),
            **compositional,
            "train_seconds": self.trained.train_seconds,
            "eval_seconds": self.eval_seconds,
            "total_seconds": self.total_seconds,
            "samples_per_second": self.trained.samples_per_second,
            "peak_memory_gb": self.test.cost.peak_memory_gb,
        }


def main(arguments: Sequence[str]) -> None:
    """Runs the command."""
    options = tyro.cli(Options, args=arguments, prog="isthmus quickstart")
    console = Console(highlight=False, emoji=False)
    console.print(
        "[bold]isthmus quickstart[/bold]: a language model learns to read what a vision encoder "
        "sees, over the strip of land between them.\n"
    )
    from isthmus.cli._recipe import find
    from isthmus.training.number_format import for_this_machine

    recipe = for_this_machine(asked := find(options.recipe))
    if recipe != asked:
        console.print("This CPU has no instructions for bfloat16: float32 is used in its place.\n")
    measured = run(recipe, options, console)
    _write(measured, options.output)
    console.print(_table(measured.test, measured.compositional))
    if measured.test.text:
        console.print("", *map(escape, measured.test.text.lines()), sep="\n")
    _say_next(measured, options, console)


def run(recipe: "Recipe", options: Options, console: Console) -> Measured:
    """Trains a recipe and its blind twin, and measures both.

    Args:
        recipe: what to train.
        options: of the command.
        console: where the story is told.
    """
    from isthmus.cli._quiet import hush_libraries
    from isthmus.training.loop import train

    hush_libraries()
    started = perf_counter()
    # Resuming makes the command repeatable: a finished run is found, an interrupted one goes on.
    seeing, blind = options.output / "model", options.output / "blind"
    console.rule(f"1 of 3: train {escape(recipe.name)}")
    trained = train(recipe, seeing, resume=True, console=console)
    console.rule("2 of 3: train its blind twin, which reads the same words and sees no picture")
    train(recipe.blind(), blind, resume=True, console=console)
    console.rule("3 of 3: ask both about scenes they have never met")
    test, compositional, eval_seconds = _measure(recipe, options, console)
    return Measured(
        trained=trained,
        test=test,
        compositional=compositional,
        eval_seconds=eval_seconds,
        total_seconds=perf_counter() - started,
    )


def _measure(
    recipe: "Recipe", options: Options, console: Console
) -> tuple["Result", "Result", float]:
    from isthmus.cli._model import language_before, open_model
    from isthmus.evaluation.benchmarks.microworld import Microworld
    from isthmus.evaluation.runner import evaluate
    from isthmus.microworld.towers.corpus import held_out_texts
    from isthmus.training.data import FileData, MicroworldData
    from isthmus.training.resolve import microworld_files

    def ask(folder: str, split: Any, *, is_blind: bool = False) -> "Result":
        data = recipe.stages[-1].data
        usual = microworld_files(data) if isinstance(data, MicroworldData) else data
        assert isinstance(usual, FileData)  # a quick start takes one file
        asked = microworld_files(MicroworldData(split=split, num=options.num_test))
        model, processor = open_model(str(options.output / folder))
        return evaluate(
            model,
            processor,
            Microworld(
                asked.file,
                asked.image_root,
                train_file=usual.file,
                train_image_root=usual.image_root,
            ),
            folder=str(options.output / folder),
            batch_size=options.batch_size,
            blind=is_blind,
            before=None if is_blind else language_before(None, str(options.output / folder)),
            texts=texts,
            console=console if console.is_terminal else None,
        )

    texts = held_out_texts(_NUM_TEXTS)
    test, compositional = ask("model", "test"), ask("model", "compositional")
    without_pictures = ask("blind", "test", is_blind=True)
    seconds = sum(each.cost.seconds for each in (test, compositional, without_pictures))
    return test.beside("blind", without_pictures.metrics), compositional, seconds


def _write(measured: Measured, output: Path) -> None:
    from isthmus.cli._page import page_of
    from isthmus.evaluation import results
    from isthmus.report import page
    from isthmus.report.sections import Bar, bars

    results.write(measured.test, output)
    results.write(measured.compositional, output / "compositional")
    content = measured.to_dict()
    (output / results.RESULTS_FILE).write_text(json.dumps(content, indent=2) + "\n", "utf-8")
    unseen = [
        Bar(
            label=f"{bar.label}, compositional",
            value=bar.value,
            interval=bar.interval,
            count=bar.count,
            note="Combinations of shape and colour that nothing was trained on.",
        )
        for bar in bars(measured.compositional, [measured.compositional.headline])
    ]
    report = page_of(
        measured.test,
        output / "model",
        title="isthmus quickstart",
        headlines=(*bars(measured.test, [measured.test.headline]), *unseen),
        costs={
            "training": f"{measured.trained.train_seconds:.0f} s",
            "evaluation": f"{measured.eval_seconds:.0f} s",
            "all, blind twin included": f"{measured.total_seconds:.0f} s",
            "training speed": f"{measured.trained.samples_per_second:.0f} samples/s",
            "peak memory": f"{content['peak_memory_gb']:.2f} GB",
        },
    )
    page.write(report, output / page.REPORT_FILE)


def _table(test: "Result", compositional: "Result") -> Table:
    from isthmus.report.sections import label_of

    columns = {
        "test": test.metrics,
        "compositional": compositional.metrics,
        **test.baselines,
    }
    table = Table(title="right answers, %")
    table.add_column("task")
    for name in columns:
        table.add_column(name, justify="right")
    for metric in test.metrics:
        values = [100 * c[metric].value if metric in c else None for c in columns.values()]
        cells = ["" if value is None else f"{value:.1f}" for value in values]
        style = "bold" if metric == test.headline else ""
        table.add_row(label_of(metric), *cells, style=style)
    return table


def _say_next(measured: Measured, options: Options, console: Console) -> None:
    from isthmus.report import page

    output = options.output
    shown = [row for row in measured.test.rows if row.images]
    # It knows the questions of its world alone, so one of them to begin with.
    asked = next((row for row in shown if row.task == "colour"), shown[0])
    cost = measured.test.cost
    console.print(
        f"\nTrained in {measured.trained.train_seconds:.0f} s at "
        f"{measured.trained.samples_per_second:.0f} samples/s, all done in "
        f"{measured.total_seconds:.0f} s, with {cost.peak_memory_gb:.2f} GB of memory at most.\n"
    )
    steps = {
        "every answer with its picture": f"{output / page.REPORT_FILE} (open it in a browser)",
        "talk to the model": f"isthmus chat {output / 'model'} --image {asked.images[0]}\n"
        f'  and ask, for instance: "{asked.question}"',
        "see all that was decided": f"isthmus show {options.recipe}",
        "train on your own pictures": f"isthmus train {options.recipe} --data YOUR.json "
        f"--image-root YOUR_IMAGES --output runs/mine",
    }
    for why, what in steps.items():
        # Soft wrap, so that a line can be copied as it is.
        console.print(f"[bold]{why}[/bold]\n  {escape(what)}", soft_wrap=True)
