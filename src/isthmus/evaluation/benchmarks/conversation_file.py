"""A user's own file: the last answer of each conversation, asked again and compared."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import final

from isthmus.data.images import upright_size
from isthmus.data.sample import Sample
from isthmus.evaluation.benchmark import (
    Benchmark,
    NumTokens,
    files_of,
    room_for,
    row_of,
    samples_of,
)
from isthmus.evaluation.metrics.exact_match import VARIANT, exact_match
from isthmus.evaluation.requests import Answer, Generate, Request, split_last_answer, unique_ids
from isthmus.evaluation.scores import SampleRow, Scores, mean_scores
from isthmus.geometry.boxes import Box, parse_boxes

HEADLINE = "exact_match"

LEAST_ROOM = 64
"""Tokens that every answer may have: in a file of short ones, a long one shows as it is."""

_WRITTEN_BOX = re.compile(r"\[\[\s*(\d{2,3})\s*,")


@final
class ConversationFile(Benchmark):
    """Exact match over the last assistant turn of each conversation; earlier turns are context."""

    def __init__(
        self, file: Path, image_root: Path, *, samples: Sequence[Sample] | None = None
    ) -> None:
        """Reads the conversations.

        Args:
            file: LLaVA JSON or messages JSONL.
            image_root: Folder that the image paths of the file start from.
            samples: Those of the file that are asked about; None reads it, and refuses faulty rows.
        """
        asked, self._file = samples_of(file, image_root, samples), file
        self._cases = {
            key: _Case(sample) for key, sample in zip(unique_ids(asked), asked, strict=True)
        }

    @property
    def name(self) -> str:
        """The kind, which is the name of the module."""
        return "conversation_file"

    @property
    def headline(self) -> str:
        """The metric that stands for the whole benchmark."""
        return HEADLINE

    @property
    def files(self) -> tuple[Path, ...]:
        """The conversations and their pictures."""
        return files_of(self._file, (case.prompt for case in self._cases.values()))

    def requests(self, num_tokens: NumTokens) -> list[Request]:
        """One free answer for each conversation."""
        room = room_for({case.target for case in self._cases.values()}, num_tokens)
        return [
            Generate(id=key, prompt=case.prompt, max_new_tokens=max(room, LEAST_ROOM))
            for key, case in self._cases.items()
        ]

    def score(self, answers: Mapping[str, Answer], *, seed: int = 0) -> Scores:
        """Scores every conversation, and each task by itself where the file names tasks."""
        rows = tuple(case.row(key, answers[key]) for key, case in self._cases.items())
        by_task = sorted({name for row in rows for name in row.scores} - {HEADLINE})
        metrics = mean_scores(rows, dict.fromkeys((HEADLINE, *by_task), VARIANT), seed=seed)
        return Scores(metrics=metrics, rows=rows)

    def baselines(self) -> dict[str, dict[str, Answer]]:
        """None: one file does not say which answers its questions usually have."""
        return {}


@final
class _Case:
    """One conversation with its truth."""

    def __init__(self, sample: Sample) -> None:
        self.prompt, self.target = split_last_answer(sample)
        self.task = sample.task
        # Among several pictures nobody knows which one a box lies in.
        self.picture = self.prompt.images[0] if len(self.prompt.images) == 1 else None
        self.boxes = sample.boxes if self.picture else ()

    def row(self, key: str, answer: Answer) -> SampleRow:
        value = exact_match(answer.text, self.target)
        # The task stands in front, since any name behind could be that of an interval.
        names = [HEADLINE, *([f"{self.task}_{HEADLINE}"] if self.task else [])]
        return row_of(
            key,
            answer,
            task=self.task,
            prompt=self.prompt,
            target=self.target,
            scores=dict.fromkeys(names, value),
            boxes=self.boxes or _boxes_in(self.target, self.picture),
            predicted_boxes=_boxes_in(answer.text, self.picture),
        )


def _boxes_in(text: str, picture: Path | None) -> tuple[Box, ...]:
    """Returns the boxes of a text in pixels of its picture, where they are written as we write.

    Percent and per mille are zero-filled, so the first number tells which it is. Other ways of
    writing do not say whether they mean pixels, and are not guessed at.
    """
    written = _WRITTEN_BOX.search(text)
    if picture is None or written is None:
        return ()
    return parse_boxes(text, upright_size(picture), digits=len(written.group(1))).boxes


BENCHMARK = ConversationFile
