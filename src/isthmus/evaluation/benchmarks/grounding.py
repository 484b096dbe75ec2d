"""Boxes in a file of conversations: where answers say that a thing is, and what they call it.

The last answer of each conversation is the truth, and what it holds tells the task: boxes alone
(referring expressions), words with boxes (grounded captions, answers with their evidence), or words
alone (what lies in a box).
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
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
from isthmus.evaluation.metrics import exact_match as words
from isthmus.evaluation.metrics import phrase_boxes as phrases
from isthmus.evaluation.metrics.box_accuracy import box_accuracy
from isthmus.evaluation.requests import Answer, Generate, Request, split_last_answer, unique_ids
from isthmus.evaluation.scores import SampleRow, Scores, mean_scores
from isthmus.geometry.box_codecs import CellText
from isthmus.geometry.box_text import convention

VARIANTS = {
    "box_accuracy": "IoU >= 0.5, boxes paired one to one, unread counts as wrong",
    "phrase_box_f1": phrases.VARIANT,
    "exact_match": words.VARIANT,
}
"""The metrics with their definitions, in the order of a report."""


@final
class Grounding(Benchmark):
    """Accuracy at an IoU of 0.5, F1 of phrases with their boxes, and exact match of other answers.

    Paper: CogVLM, arXiv 2311.03079, section 3.2: the four tasks of its grounding model.
    Differs: what lies in a box is measured by exact match, which spares no synonym.
    """

    def __init__(
        self,
        file: Path,
        image_root: Path,
        *,
        samples: Sequence[Sample] | None = None,
        boxes: str = "isthmus",
    ) -> None:
        """Reads the conversations.

        Args:
            file: of them, or of the mixture that they come from.
            image_root: Folder that the image paths of the file start from.
            samples: Those of the file that are asked about; None reads it, and refuses faulty rows.
            boxes: Convention in which questions, truths and answers write boxes; phrases are found
                in those of `cogvlm` and `isthmus`.

        Raises:
            ValueError: there is no conversation, no such convention, one that counts the pixels of
                a resized picture, or a truth whose boxes are written in another, or lie in several
                pictures.
        """
        asked, self._file = samples_of(file, image_root, samples), file
        self._cases = {
            key: _Case(sample, boxes) for key, sample in zip(unique_ids(asked), asked, strict=True)
        }

    @property
    def name(self) -> str:
        """The kind, which is the name of the module."""
        return "grounding"

    @property
    def headline(self) -> str:
        """Accuracy of boxes, where some truth holds one."""
        is_located = any(case.boxes for case in self._cases.values())
        return "box_accuracy" if is_located else "exact_match"

    @property
    def files(self) -> tuple[Path, ...]:
        """The conversations and their pictures."""
        return files_of(self._file, (case.prompt for case in self._cases.values()))

    def requests(self, num_tokens: NumTokens) -> list[Request]:
        """One free answer for each conversation."""
        room = room_for({case.target for case in self._cases.values()}, num_tokens)
        return [
            Generate(id=key, prompt=case.prompt, max_new_tokens=room)
            for key, case in self._cases.items()
        ]

    def score(self, answers: Mapping[str, Answer], *, seed: int = 0) -> Scores:
        """Scores every answer by what its truth holds, and each task by itself where it is named.

        A metric of a task is called `TASK_METRIC`.
        """
        rows = tuple(case.row(key, answers[key]) for key, case in self._cases.items())
        tasks = sorted({row.task for row in rows if row.task})
        by_task = {f"{t}_{name}": variant for t in tasks for name, variant in VARIANTS.items()}
        return Scores(metrics=mean_scores(rows, {**VARIANTS, **by_task}, seed=seed), rows=rows)

    def baselines(self) -> dict[str, dict[str, Answer]]:
        """None: one file does not say where things usually are."""
        return {}


@final
class _Case:
    """One conversation with its truth."""

    def __init__(self, sample: Sample, boxes: str) -> None:
        self.prompt, self.target = split_last_answer(sample)
        self.task, self._written = sample.task, convention(boxes)
        # Of several pictures nobody knows which one a box lies in; one may stand still for a clip.
        pictures = set(self.prompt.images)
        self._size = upright_size(self.prompt.images[0]) if len(pictures) == 1 else (1, 1)
        truth = self._written.read(self.target, self._size)
        if truth.unread or (truth.boxes and len(pictures) != 1):
            raise ValueError(
                f"{sample.id}: {self.target!r:.80} has {len(truth.unread)} boxes that are not "
                f"written as {boxes} writes them, and {len(pictures)} pictures; say how boxes are "
                "written (--boxes), and ask about one picture where there are some"
            )
        self.boxes = truth.boxes
        told = self._told(self.target)
        # Words of a box are what stands before it: of boxes alone there are none.
        self._phrases = told if any(phrase for phrase, _ in told) else []

    def _told(self, text: str) -> list[phrases.PhraseBox]:
        if not isinstance(self._written, CellText):
            return []
        return phrases.phrase_boxes(text, self._size, self._written.digits)

    def row(self, key: str, answer: Answer) -> SampleRow:
        said = self._written.read(answer.text, self._size)
        if self.boxes:
            scores = {"box_accuracy": box_accuracy(said.boxes, self.boxes)}
        else:
            scores = {"exact_match": words.exact_match(answer.text, self.target)}
        if self._phrases:
            scores["phrase_box_f1"] = phrases.phrase_box_f1(self._told(answer.text), self._phrases)
        by_task = {f"{self.task}_{name}": value for name, value in scores.items() if self.task}
        row = row_of(
            key,
            answer,
            task=self.task,
            prompt=self.prompt,
            target=self.target,
            scores={**scores, **by_task},
            boxes=self.boxes,
            predicted_boxes=said.boxes,
        )
        return replace(row, parsed=bool(said.boxes) and not said.unread) if self.boxes else row


BENCHMARK = Grounding
