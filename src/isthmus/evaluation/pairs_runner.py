"""A model that holds images and texts together, and a file of pairs, to a result."""

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import final

import torch
from jaxtyping import Bool, Float
from rich.console import Console
from torch import Tensor

from isthmus.data.pairs import pairs_of
from isthmus.data.sample import Sample
from isthmus.evaluation.memory import peak_memory_gb
from isthmus.evaluation.results import RECIPE_FILE, Cost, Provenance, Result, recipe_facts
from isthmus.evaluation.retrieval import extract_features, match_pairs, rerank
from isthmus.evaluation.scores import SampleRow, mean_scores
from isthmus.modeling import fingerprint
from isthmus.modeling.modeling_alignment import IsthmusForAlignment
from isthmus.modeling.processing_alignment import IsthmusAlignmentProcessor

RANKS = (1, 5, 10)
TOP = 128
"""Candidates that are matched for each image and each text, as in BLIP-2's code."""
HEADLINE = "recall_at_1"
BY_TEXT, BY_IMAGE = "text_to_image", "image_to_text"


@final
class PairFile:
    """Distinct images and texts of some samples, and which belong together."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        """Takes the samples apart; a text that several images share is there once."""
        pairs = [pair for sample in samples for pair in pairs_of(sample)]
        self.images = list(dict.fromkeys(pair.image for pair in pairs))
        self.texts = list(dict.fromkeys(pair.caption for pair in pairs))
        numbers = {path: number for number, path in enumerate(self.images)}
        places = {line: number for number, line in enumerate(self.texts)}
        self.truth: Bool[Tensor, "images batch"] = torch.zeros(
            len(self.images), len(self.texts), dtype=torch.bool
        )
        for pair in pairs:
            self.truth[numbers[pair.image], places[pair.caption]] = True


def evaluate_retrieval(
    model: IsthmusForAlignment,
    processor: IsthmusAlignmentProcessor,
    samples: Sequence[Sample],
    *,
    file: Path,
    folder: str,
    top: int = TOP,
    batch_size: int = 32,
    seed: int = 0,
    console: Console | None = None,
) -> Result:
    """Measures how often the true text of an image, or image of a text, is among the first.

    Each metric stands twice: after the nearest were matched again (ITM), and before (`_itc`).

    Args:
        model: that compares and matches.
        processor: of the model.
        samples: of one image each, whose answers are its captions.
        file: they were read from.
        folder: of the model.
        top: candidates that are matched for each image and each text; 0 matches none.
        batch_size: images or texts at once.
        seed: of the bootstrap.
        console: where bars show how far it is.

    Raises:
        Fault: a sample shows no image, or several.
    """
    start = time.perf_counter()
    given = PairFile(samples)
    features = extract_features(
        model,
        processor,
        images=given.images,
        texts=given.texts,
        batch_size=batch_size,
        console=console,
    )
    similarities = features.similarities().float().cpu()
    match = partial(_match, model, processor, given, batch_size, console)
    by_image, by_text = rerank(similarities, match, top=top) if top else (similarities,) * 2
    rows = [
        *_rows(given, BY_IMAGE, given.truth, by_image, similarities),
        *_rows(given, BY_TEXT, given.truth.T, by_text.T, similarities.T),
    ]
    return Result(
        benchmark="retrieval",
        headline=HEADLINE,
        metrics=mean_scores(rows, _variants(top), seed=seed),
        rows=tuple(rows),
        provenance=_provenance(model, given, file=file, folder=folder, seed=seed),
        cost=_cost(start, len(rows)),
    )


def evaluate_matching(
    model: IsthmusForAlignment,
    processor: IsthmusAlignmentProcessor,
    samples: Sequence[Sample],
    *,
    file: Path,
    folder: str,
    batch_size: int = 32,
    seed: int = 0,
    console: Console | None = None,
) -> Result:
    """Scores each pair of the samples: the probability of a match, and the similarity.

    Args:
        model: that compares and matches.
        processor: of the model.
        samples: of one image each, whose answers are the texts to be held against it.
        file: they were read from.
        folder: of the model.
        batch_size: images or texts at once.
        seed: of the bootstrap.
        console: where bars show how far it is.

    Raises:
        Fault: a sample shows no image, or several.
    """
    start = time.perf_counter()
    given = PairFile(samples)
    features = extract_features(
        model,
        processor,
        images=given.images,
        texts=given.texts,
        batch_size=batch_size,
        console=console,
    )
    pairs = given.truth.nonzero()
    logits = _match(model, processor, given, batch_size, console, pairs)
    similarities = features.similarities().float().cpu()
    rows = [
        SampleRow(
            id=f"pair-{number}",
            task="matching",
            question=given.texts[text],
            target="",
            prediction=f"{probability:.4f}",
            scores={
                "match_probability": probability,
                "similarity": float(similarities[image, text]),
            },
            images=(given.images[image],),
            cluster=str(given.images[image]),
        )
        for number, ((image, text), probability) in enumerate(
            zip(pairs.tolist(), logits.softmax(dim=1)[:, 1].tolist(), strict=True)
        )
    ]
    variants = {"match_probability": "ITM", "similarity": "ITC, nearest query"}
    return Result(
        benchmark="matching",
        headline="match_probability",
        metrics=mean_scores(rows, variants, seed=seed),
        rows=tuple(rows),
        provenance=_provenance(model, given, file=file, folder=folder, seed=seed),
        cost=_cost(start, len(rows)),
    )


def _match(
    model: IsthmusForAlignment,
    processor: IsthmusAlignmentProcessor,
    given: PairFile,
    batch_size: int,
    console: Console | None,
    pairs: Tensor,
) -> Tensor:
    return match_pairs(
        model,
        processor,
        images=given.images,
        texts=given.texts,
        pairs=pairs,
        batch_size=batch_size,
        console=console,
    )


def _provenance(
    model: IsthmusForAlignment, given: PairFile, *, file: Path, folder: str, seed: int
) -> Provenance:
    return Provenance(
        model=folder,
        **recipe_facts(Path(folder) / RECIPE_FILE),
        seed=seed,
        data=fingerprint.of_files([file, *given.images]),
        towers={
            name: fingerprint.of_weights(part.state_dict()) for name, part in model.parts().items()
        },
    )


def _cost(start: float, samples: int) -> Cost:
    seconds = time.perf_counter() - start
    return Cost(
        seconds=seconds,
        samples_per_second=samples / seconds,
        peak_memory_gb=peak_memory_gb(),
    )


def _rows(
    given: PairFile,
    task: str,
    truth: Bool[Tensor, "asking asked"],
    scores: Float[Tensor, "asking asked"],
    similarities: Float[Tensor, "asking asked"],
) -> list[SampleRow]:
    """Returns a row for each image or text that asks."""
    ranks, before = _ranks(truth, scores), _ranks(truth, similarities)
    best = scores.argmax(dim=1).tolist()
    names = [path.name for path in given.images]
    asking, asked = (names, given.texts) if task == BY_IMAGE else (given.texts, names)
    prefix = "text" if task == BY_IMAGE else "image"
    rows = []
    for number, question in enumerate(asking):
        values = {f"recall_at_{k}": float(ranks[number] < k) for k in RANKS}
        itc = {f"recall_at_{k}_itc": float(before[number] < k) for k in RANKS}
        both = values | itc
        own = {f"{prefix}_{name}": value for name, value in both.items()}
        targets = [asked[n] for n in truth[number].nonzero().flatten().tolist()]
        shown = given.images[number if task == BY_IMAGE else best[number]]
        cluster = shown if task == BY_IMAGE else given.images[int(truth[number].int().argmax())]
        rows.append(
            SampleRow(
                id=f"{task}-{number}",
                task=task,
                question=question,
                target=" | ".join(targets),
                prediction=asked[best[number]],
                scores=both | own,
                images=(shown,),
                cluster=str(cluster),
            )
        )
    return rows


def _ranks(truth: Bool[Tensor, "asking asked"], scores: Float[Tensor, "asking asked"]) -> list[int]:
    """Returns how many stand before the first true one; what is as near counts as before it."""
    best = scores.masked_fill(~truth, -torch.inf).amax(dim=1, keepdim=True)
    return ((scores >= best) & ~truth).sum(dim=1).tolist()


def _variants(top: int) -> dict[str, str]:
    matched = f"ITM logit plus ITC similarity of the nearest {top}" if top else "ITC similarity"
    names = [f"{who}recall_at_{k}" for who in ("", "text_", "image_") for k in RANKS]
    return {
        **dict.fromkeys(names, matched),
        **dict.fromkeys((f"{name}_itc" for name in names), "ITC similarity"),
    }
