"""A model and a benchmark to a result."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from isthmus.data.processor import Processor
from isthmus.evaluation import generation, likelihood
from isthmus.evaluation.benchmark import Benchmark
from isthmus.evaluation.captions import caption_requests
from isthmus.evaluation.memory import peak_memory_gb
from isthmus.evaluation.mode import measured
from isthmus.evaluation.requests import (
    Answer,
    Choose,
    Generate,
    Locate,
    Prompt,
    Rank,
    Request,
)
from isthmus.evaluation.results import RECIPE_FILE, Cost, Provenance, Result, recipe_facts
from isthmus.evaluation.scores import Score
from isthmus.evaluation.settings import check_counts
from isthmus.evaluation.text_ability import TextAbility, text_ability
from isthmus.modeling import fingerprint
from isthmus.modeling.captioning import longest_caption
from isthmus.modeling.modeling_alignment import IsthmusForAlignment
from isthmus.modeling.modeling_isthmus import IsthmusForConditionalGeneration
from isthmus.modeling.processing_alignment import IsthmusAlignmentProcessor


def evaluate(
    model: IsthmusForConditionalGeneration | IsthmusForAlignment,
    processor: Processor | IsthmusAlignmentProcessor,
    benchmark: Benchmark,
    *,
    folder: str,
    batch_size: int = 32,
    blind: bool = False,
    seed: int = 0,
    max_new_tokens: int | None = None,
    num_beams: int = 1,
    before: str | None = None,
    texts: Sequence[str] = (),
    console: Console | None = None,
) -> Result:
    """Runs a benchmark on a model.

    Args:
        model: The model; one without a language model answers with captions of the pictures.
        processor: The processor it was saved with.
        benchmark: What to ask, and how to score it.
        folder: Folder or hub id the model was loaded from; its recipe.json, if any, goes into
            the result.
        batch_size: Answers written, or candidates judged, at once.
        blind: Whether to withhold the pictures, as for a model that was trained without them.
        seed: Of the bootstrap.
        max_new_tokens: Tokens after which every answer is cut off; None leaves it to the
            benchmark, which gives room for its longest true one.
        num_beams: Beams of an answer that is written; 1 takes the likeliest token each time.
        before: Language model that the model was built from, a local folder or a hub id, beside
            which its text ability is measured; None leaves that out.
        texts: By which it is; the benchmark's own words when empty.
        console: Where to show a progress bar; None shows none.

    Raises:
        ValueError: the limit leaves no room for an answer, or a conversation cannot be encoded, or
            a model without a language model is asked for more than captions.
    """
    if isinstance(model, IsthmusForAlignment):
        _check_captions(model, blind=blind, max_new_tokens=max_new_tokens)
    requests = benchmark.requests(
        lambda text: len(processor.tokenizer(text, add_special_tokens=False)["input_ids"])
    )
    if max_new_tokens is not None:
        requests = [_limited(request, max_new_tokens) for request in requests]
    start = time.perf_counter()
    if isinstance(model, IsthmusForAlignment):
        assert isinstance(processor, IsthmusAlignmentProcessor)
        answers = _captions(
            model,
            processor,
            requests,
            batch_size=batch_size,
            num_beams=num_beams,
            console=console,
        )
    else:
        assert isinstance(processor, Processor)
        answers = answer(
            model,
            processor,
            requests,
            batch_size=batch_size,
            blind=blind,
            num_beams=num_beams,
            console=console,
        )
    seconds = time.perf_counter() - start
    scores = benchmark.score(answers, seed=seed)
    towers = {n: fingerprint.of_weights(p.state_dict()) for n, p in model.parts().items()}
    text: TextAbility | None = None
    were: dict[str, Score] = {}
    if before is not None and isinstance(model, IsthmusForConditionalGeneration):
        text, were = text_ability(
            model,
            processor,
            before,
            texts or [f"{row.question} {row.target}" for row in scores.rows],
            benchmark=benchmark,
            requests=requests,
            answers=answers,
            scores=scores,
            weights=towers["language_model"],
            ask=partial(answer, model, processor, batch_size=batch_size, num_beams=num_beams),
            seed=seed,
        )
    return Result(
        benchmark=benchmark.name,
        headline=benchmark.headline,
        metrics=scores.metrics,
        rows=scores.rows,
        baselines={
            **{
                name: benchmark.score(given, seed=seed).metrics
                for name, given in benchmark.baselines().items()
            },
            **({"before": were} if were else {}),
        },
        provenance=Provenance(
            model=folder,
            **recipe_facts(Path(folder) / RECIPE_FILE),
            seed=seed,
            data=fingerprint.of_files(benchmark.files),
            towers=towers,
            blind=blind,
            num_beams=num_beams,
        ),
        text=text,
        cost=Cost(
            seconds=seconds,
            samples_per_second=len(requests) / seconds,
            peak_memory_gb=peak_memory_gb(),
        ),
    )


def answer(
    model: IsthmusForConditionalGeneration,
    processor: Processor,
    requests: Sequence[Request],
    *,
    batch_size: int = 32,
    blind: bool = False,
    num_beams: int = 1,
    console: Console | None = None,
) -> dict[str, Answer]:
    """Answers requests in batches; no answer depends on the others or on the size of a batch.

    Raises:
        ValueError: two requests share an id, a conversation cannot be encoded, a count is below
            one, or the model cannot write with beams.
    """
    check_counts(1, batch_size=batch_size, num_beams=num_beams)
    generation.check_beams(model, num_beams)
    if len({request.id for request in requests}) != len(requests):
        raise ValueError("two requests share an id; expected every id once, since answers go by it")
    change = (
        Prompt.blind if blind else partial(Prompt.as_clips, num_frames=model.config.clip_frames)
    )
    requests = [_with_prompts(request, change) for request in requests]
    written = [r for r in requests if isinstance(r, Generate | Locate)]
    judged = [r for r in requests if isinstance(r, Choose | Rank)]
    answers: dict[str, Answer] = {}
    shown = console or Console(quiet=True)
    with Progress(console=shown, transient=True) as bar, measured(model):
        task = bar.add_task("answering", total=len(requests))
        for batch in generation.batches(written, model, processor, batch_size):
            given = generation.generate(model, processor, batch, num_beams=num_beams)
            answers.update((one.id, one) for one in given)
            bar.advance(task, len(given))
        for group in likelihood.batches(judged, processor, batch_size):
            given = likelihood.judge(model, processor, group, batch_size)
            answers.update((one.id, one) for one in given)
            bar.advance(task, len(given))
    return answers


def _captions(
    model: IsthmusForAlignment,
    processor: IsthmusAlignmentProcessor,
    requests: Sequence[Request],
    *,
    batch_size: int,
    num_beams: int,
    console: Console | None,
) -> dict[str, Answer]:
    shown = console or Console(quiet=True)
    with Progress(console=shown, transient=True) as bar:
        written = caption_requests(
            model, processor, requests, batch_size=batch_size, num_beams=num_beams
        )
        return {
            each.id: each
            for each in bar.track(written, total=len(requests), description="answering")
        }


def _check_captions(model: IsthmusForAlignment, *, blind: bool, max_new_tokens: int | None) -> None:
    """Checks that nothing is asked of a captioner that it would ignore."""
    if blind:
        raise ValueError(
            "without pictures, a model that holds images and texts together has nothing to write "
            "captions of; leave out blind"
        )
    longest = longest_caption(model)
    if max_new_tokens is not None and max_new_tokens > longest:
        raise ValueError(
            f"max_new_tokens is {max_new_tokens}; the model has learned captions of {longest} "
            "tokens at most, so give as many or fewer"
        )


def _limited(request: Request, max_new_tokens: int) -> Request:
    if max_new_tokens < 1:
        raise ValueError(f"max_new_tokens is {max_new_tokens}; expected room for 1 token or more")
    if isinstance(request, Generate | Locate):
        return replace(request, max_new_tokens=max_new_tokens)
    return request


def _with_prompts(request: Request, change: Callable[[Prompt], Prompt]) -> Request:
    if isinstance(request, Rank):
        candidates = tuple((change(prompt), text) for prompt, text in request.candidates)
        return replace(request, candidates=candidates)
    return replace(request, prompt=change(request.prompt))
