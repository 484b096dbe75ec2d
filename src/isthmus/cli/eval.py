"""Measure a trained model on your conversations."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast, final

import tyro

from isthmus.cli._console import plain

if TYPE_CHECKING:
    from isthmus.evaluation.benchmark import Benchmark


@final
@dataclass(frozen=True)
class Options:
    """Measure a trained model on your conversations.

    The last assistant turn of each conversation is the truth, the turns before it are the prompt.
    exact_match is the share of answers that are the same text as the truth, apart from upper and
    lower case, Unicode forms (NFKC), the width of gaps, and spaces and .,;:!?"' at both ends. So "A
    dog." is "a dog", but "dog" is not, and "two" is not "2".
    """

    model: Annotated[str, tyro.conf.Positional]
    """Folder of a trained model."""
    data: Path
    """LLaVA JSON or messages JSONL."""
    output: Path
    """Folder that gets results.json, samples.jsonl and report.html."""
    image_root: Path | None = None
    """Folder that the image paths of --data start from; the folder of --data when left out."""
    benchmark: str = "conversation_file"
    """How to ask and score; `microworld` scores exported scenes task by task."""
    max_new_tokens: int | None = None
    """Tokens after which an answer is cut off; enough for the longest truth when left out."""
    batch_size: int = 32
    """Answers written at once."""
    blind: bool = False
    """Withhold the pictures, to see what the words alone give away."""
    seed: int = 0
    """Of the bootstrap intervals."""


def main(arguments: Sequence[str]) -> None:
    """Runs the command."""
    options = tyro.cli(Options, args=arguments, prog="isthmus eval")
    from isthmus.cli._model import open_model
    from isthmus.cli._page import page_of
    from isthmus.evaluation import results
    from isthmus.evaluation.benchmarks import of_kind
    from isthmus.evaluation.runner import evaluate
    from isthmus.report import page
    from isthmus.report.sections import bars

    root = options.data.parent if options.image_root is None else options.image_root
    # Faults of the data show before the model is loaded.
    make = cast("Callable[[Path, Path], Benchmark]", of_kind(options.benchmark))
    benchmark = make(options.data, root)
    model, processor = open_model(options.model)
    console = plain()
    result = evaluate(
        model,
        processor,
        benchmark,
        folder=options.model,
        batch_size=options.batch_size,
        blind=options.blind,
        seed=options.seed,
        max_new_tokens=options.max_new_tokens,
        console=console if console.is_terminal else None,
    )
    results.write(result, options.output)
    report = page_of(
        result,
        Path(options.model),
        title=f"{benchmark.name}: {options.data.name}",
        headlines=bars(result, [result.headline]),
        costs={
            "evaluation": f"{result.cost.seconds:.1f} s",
            "speed": f"{result.cost.samples_per_second:.1f} samples/s",
            "peak memory": f"{result.cost.peak_memory_gb:.2f} GB",
        },
    )
    page.write(report, options.output / page.REPORT_FILE)
    for name, score in result.metrics.items():
        low, high = score.interval.low, score.interval.high
        console.print(f"{name}  {score.value:.4f}  ({low:.4f} to {high:.4f})  n={score.count}")
    if result.num_cut:
        console.print(f"\n{result.num_cut} answers were cut off; --max-new-tokens gives more room.")
    console.print(f"\nEvery answer with its picture: {options.output / page.REPORT_FILE}")
