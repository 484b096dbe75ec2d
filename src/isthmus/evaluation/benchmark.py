"""The contract of a benchmark: samples become requests, and the answers of all of them scores.

A benchmark never sees a model, and what runs the model never sees a target. Scores belong to the
whole set, since some (CIDEr, F1, the ranks of a retrieval) are no mean over samples.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from isthmus.data.sample import Sample
from isthmus.data.sources import read
from isthmus.evaluation.requests import Answer, Prompt, Request
from isthmus.evaluation.scores import SampleRow, Scores
from isthmus.geometry.boxes import Box

NumTokens = Callable[[str], int]
"""Counts the tokens that the model needs for a text; it has a tokenizer, a benchmark has none."""

SLACK = 16
"""Tokens by which an answer may be longer than the longest true one; its end token is one."""


class Benchmark(ABC):
    """A set of samples with its way of asking and its way of scoring."""

    @property
    @abstractmethod
    def name(self) -> str:
        """The kind, which is the name of the module."""

    @property
    @abstractmethod
    def headline(self) -> str:
        """The metric that stands for the whole benchmark."""

    @property
    @abstractmethod
    def files(self) -> tuple[Path, ...]:
        """The files whose content decides the score, pictures included."""

    @abstractmethod
    def requests(self, num_tokens: NumTokens) -> list[Request]:
        """What to ask the model, in any order; ids are unique.

        Args:
            num_tokens: By which answers get the room that they need.
        """

    @abstractmethod
    def score(self, answers: Mapping[str, Answer], *, seed: int = 0) -> Scores:
        """Scores the answers of the whole set.

        Args:
            answers: The answer to every request, by request id.
            seed: Of the bootstrap.
        """

    @abstractmethod
    def baselines(self) -> dict[str, dict[str, Answer]]:
        """Answers to every request that need no model, by the name of the baseline."""


def room_for(targets: Iterable[str], num_tokens: NumTokens) -> int:
    """Returns a limit of new tokens that cuts off no answer as long as the longest target.

    One limit for many requests tells nothing about the answer to any of them.
    """
    return max(map(num_tokens, targets)) + SLACK


def samples_of(file: Path, image_root: Path, samples: Sequence[Sample] | None) -> Sequence[Sample]:
    """Returns the samples of a file that are asked about.

    Args:
        file: data file.
        image_root: Folder that the image paths of the file start from.
        samples: Those of the file, if they were read; None reads it, and refuses faulty rows.

    Raises:
        ValueError: there are none.
    """
    found = list(read(file, image_root)) if samples is None else samples
    if not found:
        raise ValueError(f"{file} holds no conversation; expected at least one to score")
    return found


def files_of(file: Path, prompts: Iterable[Prompt]) -> tuple[Path, ...]:
    """Returns a data file and the pictures of what is asked of it, each once."""
    return (file, *dict.fromkeys(image for prompt in prompts for image in prompt.images))


def row_of(
    key: str,
    answer: Answer,
    *,
    task: str,
    prompt: Prompt,
    target: str,
    scores: Mapping[str, float],
    boxes: tuple[Box, ...],
    predicted_boxes: tuple[Box, ...],
) -> SampleRow:
    """Returns a sample with its answer and scores; what shows the same pictures is one cluster.

    Args:
        key: Of the sample; a baseline may give many samples one answer.
        answer: To be shown beside the truth.
        task: Of the sample.
        prompt: What was asked.
        target: The truth.
        scores: What the sample adds to each metric.
        boxes: The true ones.
        predicted_boxes: Those of the answer.
    """
    return SampleRow(
        id=key,
        task=task,
        question=prompt.question,
        target=target,
        prediction=answer.text,
        scores=scores,
        parsed=answer.finished and bool(answer.text),
        finished=answer.finished,
        images=prompt.images,
        cluster=" ".join(map(str, prompt.images)) or key,
        boxes=boxes,
        predicted_boxes=predicted_boxes,
        log_likelihoods=answer.log_likelihoods,
    )
