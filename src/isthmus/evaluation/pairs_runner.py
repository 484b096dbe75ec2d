"""A model that holds images and texts together, and a file of pairs, to a result."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import final

import torch
from jaxtyping import Bool, Float, Int
from rich.console import Console
from torch import Tensor

from isthmus.data.pairs import pairs_of
from isthmus.data.sample import Sample
from isthmus.evaluation.memory import peak_memory_gb
from isthmus.evaluation.results import RECIPE_FILE, Cost, Provenance, Result, recipe_facts
from isthmus.evaluation.retrieval import Features, extract_features, match_pairs, rerank
from isthmus.evaluation.scores import SampleRow, mean_scores
from isthmus.evaluation.settings import check_counts
from isthmus.evaluation.sights import ROOM, Sights
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


@final
@dataclass(frozen=True, kw_only=True)
class PairTask:
    """A model, and the pairs that it is measured by."""

    model: IsthmusForAlignment
    processor: IsthmusAlignmentProcessor
    samples: Sequence[Sample]
    """Of one image each, whose answers are texts to be held against it."""
    file: Path
    """They were read from."""
    folder: str
    """Of the model."""
    batch_size: int = 32
    """Images or texts at once."""
    seed: int = 0
    """Of the bootstrap."""
    console: Console | None = None
    """Where bars show how far it is."""

    @cached_property
    def pairs(self) -> PairFile:
        """Distinct images and texts, and which belong together.

        Raises:
            Fault: a sample shows no image, or several.
        """
        return PairFile(self.samples)

    @cached_property
    def texts_cut(self) -> int:
        """Texts of which the model reads the beginning alone."""
        return self.processor.num_cut(self.pairs.texts)

    def features(self, sights: Sights | None = None) -> Features:
        """Returns images and texts as vectors.

        Args:
            sights: looks at the images.
        """
        return extract_features(
            self.model,
            self.processor,
            images=self.pairs.images,
            texts=self.pairs.texts,
            batch_size=self.batch_size,
            sights=sights,
            console=self.console,
        )

    def similarities(self, sights: Sights) -> Float[Tensor, "images batch"]:
        """Returns the cosine of every image with every text.

        Args:
            sights: looks at the images.
        """
        return self.features(sights).similarities().float().cpu()

    def match(self, pairs: Int[Tensor, "pairs 2"], sights: Sights) -> Float[Tensor, "pairs 2"]:
        """Returns the logits of pairs.

        Args:
            pairs: numbers of an image and of a text.
            sights: looks at the images.
        """
        return match_pairs(
            self.model,
            self.processor,
            images=self.pairs.images,
            texts=self.pairs.texts,
            pairs=pairs,
            batch_size=self.batch_size,
            sights=sights,
            console=self.console,
        )

    def result(
        self,
        name: str,
        headline: str,
        rows: Sequence[SampleRow],
        variants: Mapping[str, str],
        *,
        start: float,
    ) -> Result:
        """Returns scored rows as a result.

        Args:
            name: of what was measured.
            headline: the metric that stands for it.
            rows: one for each that asked.
            variants: the definition behind each metric.
            start: when it was begun, by `time.perf_counter`.
        """
        seconds = time.perf_counter() - start
        towers = {n: fingerprint.of_weights(p.state_dict()) for n, p in self.model.parts().items()}
        return Result(
            benchmark=name,
            headline=headline,
            metrics=mean_scores(rows, variants, seed=self.seed),
            rows=tuple(rows),
            provenance=Provenance(
                model=self.folder,
                **recipe_facts(Path(self.folder) / RECIPE_FILE),
                seed=self.seed,
                data=fingerprint.of_files([self.file, *self.pairs.images]),
                towers=towers,
            ),
            cost=Cost(
                seconds=seconds,
                samples_per_second=len(rows) / seconds,
                peak_memory_gb=peak_memory_gb(),
            ),
            texts_cut=self.texts_cut,
        )


def evaluate_retrieval(task: PairTask, *, top: int = TOP) -> Result:
    """Measures how often the true text of an image, or image of a text, is among the first.

    Each metric stands twice: after the nearest were matched again (ITM), and before (`_itc`).

    Args:
        task: model and pairs.
        top: candidates that are matched for each image and each text; 0 matches none.

    Raises:
        ValueError: there are to be fewer than none.
    """
    check_counts(0, top=top)
    start = time.perf_counter()
    sights = Sights(task.model, task.processor, room=ROOM if top else 0)
    truth, similarities = task.pairs.truth, task.similarities(sights)
    by_image = by_text = similarities
    if top:
        by_image, by_text = rerank(similarities, lambda pairs: task.match(pairs, sights), top=top)
    rows = [
        *_rows(task.pairs, BY_IMAGE, truth, by_image, similarities),
        *_rows(task.pairs, BY_TEXT, truth.T, by_text.T, similarities.T),
    ]
    return task.result("retrieval", HEADLINE, rows, _variants(top), start=start)


def evaluate_matching(task: PairTask) -> Result:
    """Scores each pair of the samples: the probability of a match, and the similarity."""
    start = time.perf_counter()
    sights = Sights(task.model, task.processor, room=ROOM)
    given, similarities = task.pairs, task.similarities(sights)
    numbers = given.truth.nonzero()
    probabilities = task.match(numbers, sights).softmax(dim=1)[:, 1].tolist()
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
            zip(numbers.tolist(), probabilities, strict=True)
        )
    ]
    variants = {"match_probability": "ITM", "similarity": "ITC, nearest query"}
    return task.result("matching", "match_probability", rows, variants, start=start)


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
