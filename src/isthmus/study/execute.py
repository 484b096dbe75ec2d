"""What most studies do with a run: train it, then measure it."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from isthmus.data.sample import Sample
from isthmus.evaluation import results
from isthmus.evaluation.benchmark import Benchmark
from isthmus.evaluation.pairs_runner import PairFile, PairTask, evaluate_retrieval
from isthmus.evaluation.runner import evaluate
from isthmus.microworld.towers import located
from isthmus.modeling.loading import load, load_alignment
from isthmus.study.run import Execute
from isthmus.training.loop import train
from isthmus.training.models import ModelConfig
from isthmus.training.stage import Recipe


def train_and_evaluate(
    benchmark: Benchmark,
    *,
    batch_size: int = 32,
    texts: Sequence[str] = (),
    console: Console | None = None,
) -> Execute:
    """Returns what trains a recipe into the folder of its run and writes its results there.

    Training goes on from the last checkpoint, should it have been interrupted. A recipe whose
    stages are all blind is evaluated without pictures, too.

    Args:
        benchmark: By which every run is measured.
        batch_size: Of the evaluation.
        texts: By which the language model is held against what it was; the benchmark's own words
            when empty.
        console: Where both are shown; None is silent.
    """
    shown = console or Console(quiet=True)

    def execute(recipe: Recipe, folder: Path) -> None:
        train(recipe, folder, resume=True, console=shown)
        assert isinstance(recipe.model, ModelConfig)
        model, processor = load(folder)
        result = evaluate(
            model,
            processor,
            benchmark,
            folder=str(folder),
            batch_size=batch_size,
            blind=all(stage.blind for stage in recipe.stages),
            before=located(recipe.model.language),
            texts=texts,
            console=console,
        )
        results.write(result, folder)

    return execute


def train_and_retrieve(
    samples: Sequence[Sample],
    *,
    file: Path,
    top: int,
    batch_size: int = 32,
    console: Console | None = None,
) -> Execute:
    """Returns the same for recipes that hold images and texts together, measured by retrieval.

    Args:
        samples: Of one image each, whose answers are its captions.
        file: They were read from.
        top: Candidates that are matched for each image and each text.
        batch_size: Of the evaluation.
        console: Where both are shown; None is silent.

    Raises:
        Fault: A sample shows no image, or several.
    """
    PairFile(samples)  # what is wrong with them shows before anything is trained
    shown = console or Console(quiet=True)

    def execute(recipe: Recipe, folder: Path) -> None:
        train(recipe, folder, resume=True, console=shown)
        model, processor = load_alignment(folder)
        task = PairTask(
            model=model,
            processor=processor,
            samples=samples,
            file=file,
            folder=str(folder),
            batch_size=batch_size,
            console=console,
        )
        results.write(evaluate_retrieval(task, top=top), folder)

    return execute
