"""Measure a trained model on your conversations."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast, final

import tyro

from isthmus.cli._console import plain
from isthmus.data.quarantine import QUARANTINE_FILE
from isthmus.data.vetting import MAX_BAD_SHARE

if TYPE_CHECKING:
    from isthmus.evaluation.benchmark import Benchmark
    from isthmus.evaluation.results import Result


@final
@dataclass(frozen=True)
class Options:
    """Measure a trained model on your conversations.

    The last assistant turn of each conversation is the truth, the turns before it are the prompt.
    exact_match is the share of answers that are the same text as the truth, apart from upper and
    lower case, Unicode forms (NFKC), the width of gaps, and spaces and .,;:!?"' at both ends. So "A
    dog." is "a dog", but "dog" is not, and "two" is not "2". With `--benchmark grounding`, boxes
    are scored where the truth holds some: by accuracy at an IoU of 0.5, and by the F1 of phrases
    with their boxes.

    A model that holds images and texts together (`isthmus train microworld.blip2_alignment`) is
    measured by retrieval: each image has to find its text among all, and each text its image.
    """

    model: Annotated[str, tyro.conf.Positional]
    """Folder of a trained model."""
    data: Path
    """LLaVA JSON or messages JSONL; or a YAML file that describes a mixture, of which each data set
    is a task."""
    output: Path
    """Folder that gets results.json, samples.jsonl and report.html."""
    image_root: Path | None = None
    """Folder that the image paths of --data start from; the folder of --data when left out."""
    benchmark: str | None = None
    """How to ask and score: `conversation_file` (the usual), `grounding` (boxes in answers),
    `microworld` (exported scenes, task by task); of models that hold images and texts together,
    `retrieval` (the usual), `matching` (each pair's scores), `features` (vectors in a file), or
    `conversation_file` or `microworld`, with captions."""
    boxes: str | None = None
    """How boxes are written, for `grounding`: `cogvlm`, `shikra`, `qwen_vl`, ...; as the mixture
    says, or `isthmus`, when left out."""
    style: str | None = None
    """How the chat template asks, where it knows several ways: `short` or `chat` of `cogvlm_chat`.
    """
    max_new_tokens: int | None = None
    """Tokens after which an answer is cut off; enough for the longest truth when left out."""
    num_beams: int = 1
    """Beams of an answer (BLIP-2 writes captions with 5); 1 takes the likeliest token each time."""
    top: int | None = None
    """Candidates of each image and each text that are matched again for `retrieval`, 128 when left
    out; 0 compares by similarity alone."""
    batch_size: int = 32
    """Answers written at once; images or texts that are looked at."""
    blind: bool = False
    """Withhold the pictures, to see what the words alone give away."""
    max_bad_share: float = MAX_BAD_SHARE
    """Share of rows that may be unusable; they are left out, and named in quarantine.jsonl."""
    before: str | None = None
    """Language model that the model was built from, a folder or hub id: what it makes of text alone
    is measured before and after. That of the model's recipe when left out, if it is at hand;
    `none` leaves it out."""
    texts: Path | None = None
    """Texts for that, one on each line; the words of --data when left out."""
    seed: int = 0
    """Of the bootstrap intervals."""


def main(arguments: Sequence[str]) -> None:
    """Runs the command."""
    options = tyro.cli(Options, args=arguments, prog="isthmus eval")
    from isthmus.cli import _eval_pairs
    from isthmus.cli._eval_data import vet_asked, written_boxes
    from isthmus.cli._model import language_before, open_model
    from isthmus.cli._recipe import is_mixture
    from isthmus.data.mixture.file import read_mixture
    from isthmus.data.rendering import check_template
    from isthmus.data.vetting import encoding_of
    from isthmus.evaluation.benchmarks import of_kind
    from isthmus.evaluation.generation import askable
    from isthmus.evaluation.runner import evaluate
    from isthmus.evaluation.settings import check_counts, check_unused
    from isthmus.modeling.configuration_alignment import IsthmusAlignmentConfig
    from isthmus.modeling.loading import kind_of

    root = options.data.parent if options.image_root is None else options.image_root
    console = plain()
    shown = console if console.is_terminal else None
    check_counts(1, batch_size=options.batch_size, num_beams=options.num_beams)
    check_counts(1, max_new_tokens=options.max_new_tokens)
    check_counts(0, top=options.top)
    if not options.data.is_file():  # it shows before the model is loaded
        raise ValueError(f"the data file {options.data} does not exist")
    if kind_of(options.model) is IsthmusAlignmentConfig:
        _eval_pairs.run(options)
        return
    if options.benchmark in _eval_pairs.OWN:
        raise ValueError(
            f"--benchmark {options.benchmark} is of models that hold images and texts together, "
            f"and {options.model} answers; name another, or leave it out"
        )
    check_unused(options, ["top"], f"{options.model} answers, and finds no images by texts")
    make = cast("Callable[..., Benchmark]", of_kind(options.benchmark or "conversation_file"))
    mixture = None
    if is_mixture(options.data, options.image_root):
        mixture = read_mixture(options.data)
    if options.benchmark == "grounding":
        make = partial(make, boxes=written_boxes(mixture, options.boxes))
    else:
        check_unused(options, ["boxes"], "boxes are read with --benchmark grounding")
    model, processor = open_model(options.model)
    if options.style is not None:
        check_template(processor, options.style)
    longest, frames = model.config.max_positions, model.config.clip_frames
    asks = askable(processor, longest, frames)
    vetted = vet_asked(
        options.data,
        root,
        mixture,
        check=lambda sample: asks(sample.styled(options.style)),
        about={
            "tried": "to ask",
            "frames": frames,
            "style": options.style,
            **encoding_of(processor, longest),
        },
        max_bad_share=options.max_bad_share,
        output=options.output,
        console=shown,
    )
    asked = [sample.styled(options.style) for sample in vetted.samples]
    benchmark = make(options.data, root, samples=asked)
    result = evaluate(
        model,
        processor,
        benchmark,
        folder=options.model,
        batch_size=options.batch_size,
        blind=options.blind,
        seed=options.seed,
        max_new_tokens=options.max_new_tokens,
        num_beams=options.num_beams,
        before=language_before(options.before, options.model),
        texts=options.texts.read_text("utf-8").splitlines() if options.texts else (),
        console=shown,
    )
    asked_as = replace(result.provenance, style=options.style)
    report(replace(result, provenance=asked_as, rejected=vetted.counts), options)


def report(result: "Result", options: Options) -> None:
    """Writes a result and its page, and prints the numbers."""
    from isthmus.cli._page import page_of
    from isthmus.evaluation import results
    from isthmus.report import page
    from isthmus.report.sections import bars

    console = plain()
    results.write(result, options.output)
    made = page_of(
        result,
        Path(options.model),
        title=f"{result.benchmark}: {options.data.name}",
        headlines=bars(result, [result.headline]),
        costs={
            "evaluation": f"{result.cost.seconds:.1f} s",
            "speed": f"{result.cost.samples_per_second:.1f} samples/s",
            "peak memory": f"{result.cost.peak_memory_gb:.2f} GB",
        },
    )
    page.write(made, options.output / page.REPORT_FILE)
    for name, score in result.metrics.items():
        low, high = score.interval.low, score.interval.high
        console.print(f"{name}  {score.value:.4f}  ({low:.4f} to {high:.4f})  n={score.count}")
    for each in result.text.lines() if result.text else ():
        console.print(each)
    if result.rejected:
        console.print(
            f"\nRows that cannot be used: {sum(result.rejected.values())}; "
            f"{options.output / QUARANTINE_FILE} says why."
        )
    if result.num_cut:
        console.print(f"\n{result.num_cut} answers were cut off; --max-new-tokens gives more room.")
    say_cut(result.texts_cut)
    console.print(f"\nEvery answer with its picture: {options.output / page.REPORT_FILE}")


def say_cut(num_texts: int) -> None:
    """Prints how many texts were held against images without being read to their end."""
    if num_texts:
        plain().print(
            f"\n{num_texts} texts are longer than the model reads; it knows their beginning alone."
        )
