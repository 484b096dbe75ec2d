"""The microworld: questions, signs, boxes and captions about scenes whose truth is exact."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import final

from isthmus.data.images import upright_size
from isthmus.data.sample import Sample
from isthmus.data.sources import read
from isthmus.evaluation.benchmark import (
    Benchmark,
    NumTokens,
    files_of,
    room_for,
    row_of,
    samples_of,
)
from isthmus.evaluation.metrics import caption_facts as captions
from isthmus.evaluation.metrics import phrase_boxes as phrases
from isthmus.evaluation.metrics.box_accuracy import box_accuracy
from isthmus.evaluation.metrics.exact_match import VARIANT as EXACT
from isthmus.evaluation.metrics.exact_match import exact_match
from isthmus.evaluation.requests import (
    Answer,
    Choose,
    Generate,
    Locate,
    Request,
    split_last_answer,
    unique_ids,
)
from isthmus.evaluation.scores import SampleRow, Scores, mean_scores
from isthmus.geometry.boxes import format_boxes, parse_boxes

VQA_TASKS = (
    "colour",
    "shape",
    "count",
    "existence",
    "relation",
    "comparison",
    "position",
    "multiple_choice",
    "grounded_vqa",
)
"""Questions about a picture with one short exact answer; `vqa_accuracy` pools their samples."""

CLIP_TASKS = ("direction", "order", "visits")
"""Questions about a clip: what moves where, what comes first or last, and how often."""
_CLIP_ANSWERS = (*CLIP_TASKS, "first")
"""All that `clip_accuracy` pools; `first` is asked only where it is named."""

STYLED_TASKS = ("short_answer", "chat_answer")
"""Questions that are asked for an answer in a word, or in a sentence."""

TEXT_TASKS = ("arithmetic", "scene_qa", "copying", "sorting")
"""Questions without a picture: what the language model can do with its eyes closed."""

_POOLED = {
    **dict.fromkeys(VQA_TASKS, "vqa_accuracy"),
    **dict.fromkeys(_CLIP_ANSWERS, "clip_accuracy"),
    **dict.fromkeys(STYLED_TASKS, "styled_accuracy"),
    **dict.fromkeys(TEXT_TASKS, "text_accuracy"),
}
"""The metric that pools the samples of each task with a short exact answer."""

_CAPTIONS = ("caption", "clip_caption")
"""Free texts whose facts are counted."""

_SENTENCE_WORDS = 4
_IOU = "IoU >= 0.5, boxes paired one to one, unread counts as wrong"
_CHOICE = "likeliest choice by summed log-likelihood"
VARIANTS: dict[str, str] = {
    "vqa_accuracy": f"{EXACT}; multiple choice: {_CHOICE}",
    **{f"accuracy_{task}": _CHOICE if task == "multiple_choice" else EXACT for task in VQA_TASKS},
    "reading_accuracy": EXACT,
    "board_accuracy": EXACT,
    "region_accuracy": EXACT,
    "box_accuracy": _IOU,
    "caption_facts": captions.VARIANT,
    "clip_caption_facts": captions.VARIANT,
    "grounded_caption_facts": captions.VARIANT,
    "grounded_caption_boxes": _IOU,
    "phrase_box_f1": phrases.VARIANT,
    "clip_accuracy": EXACT,
    **{f"accuracy_{task}": EXACT for task in _CLIP_ANSWERS},
    "styled_accuracy": EXACT,
    "answer_style": f"{_SENTENCE_WORDS} words or more where a sentence is asked for, else fewer",
    **{f"accuracy_{task}": EXACT for task in STYLED_TASKS},
    "text_accuracy": EXACT,
    **{f"accuracy_{task}": EXACT for task in TEXT_TASKS},
}
"""Every metric of this benchmark with its definition, in the order of a report."""


@final
class Microworld(Benchmark):
    """Scores a set of scenes that `isthmus microworld export` wrote."""

    def __init__(
        self,
        file: Path,
        image_root: Path,
        *,
        samples: Sequence[Sample] | None = None,
        train_file: Path | None = None,
        train_image_root: Path | None = None,
    ) -> None:
        """Reads the questions, and the training answers where a majority baseline is wanted.

        Args:
            file: Messages JSONL of the scenes to be scored.
            image_root: Folder that its image paths start from.
            samples: Those of the file that are asked about; None reads it, and refuses faulty rows.
            train_file: Messages JSONL of the training scenes; the most frequent answer of each of
                its tasks is the `majority` baseline. None leaves the baseline out.
            train_image_root: As `image_root`; the folder of `train_file` when None.
        """
        asked, self._file = samples_of(file, image_root, samples), file
        self._cases = {
            key: _Case(sample) for key, sample in zip(unique_ids(asked), asked, strict=True)
        }
        self._usual: dict[str, Answer] = {}
        if train_file is not None:
            root = train_file.parent if train_image_root is None else train_image_root
            self._usual = usual_answers(read(train_file, root))

    @property
    def name(self) -> str:
        """The kind, which is the name of the module."""
        return "microworld"

    @property
    def headline(self) -> str:
        """The metric that stands for the whole benchmark."""
        return "vqa_accuracy"

    @property
    def files(self) -> tuple[Path, ...]:
        """The questions and their pictures."""
        return files_of(self._file, (case.prompt for case in self._cases.values()))

    def requests(self, num_tokens: NumTokens) -> list[Request]:
        """Boxes for the box tasks, a choice for multiple choice, free text for the others."""
        targets: dict[str, set[str]] = defaultdict(set)
        for case in self._cases.values():
            targets[case.task].add(case.target)
        # Answers of one limit share batches, so a limit by task keeps short ones off long ones.
        room = {task: room_for(texts, num_tokens) for task, texts in targets.items()}
        return [case.request(key, room[case.task]) for key, case in self._cases.items()]

    def score(self, answers: Mapping[str, Answer], *, seed: int = 0) -> Scores:
        """Scores all answers; metrics whose tasks the file does not hold are left out."""
        rows = tuple(case.row(key, answers[key]) for key, case in self._cases.items())
        return Scores(metrics=mean_scores(rows, VARIANTS, seed=seed), rows=rows)

    def baselines(self) -> dict[str, dict[str, Answer]]:
        """The most frequent training answer of each task, whatever the picture shows."""
        if not self._usual:
            return {}
        nothing = Answer(id="", text="")
        return {
            "majority": {
                key: self._usual.get(case.task, nothing) for key, case in self._cases.items()
            }
        }


@final
class _Case:
    """One question with its truth."""

    def __init__(self, sample: Sample) -> None:
        self.prompt, self.target = split_last_answer(sample)
        self.task = sample.task
        self.choices = tuple(str(choice) for choice in sample.meta.get("choices", ()))
        self.boxes = sample.boxes
        if self.task in ("referring", "grounded_caption"):
            # A picture may stand still for a clip.
            if not self.boxes or len(set(sample.images)) != 1:
                raise ValueError(
                    f"sample {sample.id!r} ({self.task}) has {len(self.boxes)} boxes in "
                    f"meta.boxes and {len(set(sample.images))} images; expected boxes in one image"
                )
            self.size = upright_size(sample.images[0])
        elif self.task not in (*_POOLED, "reading", "board", "region", *_CAPTIONS):
            raise ValueError(
                f"sample {sample.id!r} has the task {self.task!r}, which the microworld does not "
                "score; score other conversations with the benchmark conversation_file"
            )

    def request(self, key: str, limit: int) -> Request:
        if self.task == "multiple_choice" and self.choices:
            return Choose(id=key, prompt=self.prompt, choices=self.choices)
        if self.task in ("referring", "grounded_caption"):
            return Locate(id=key, prompt=self.prompt, max_new_tokens=limit, size=self.size)
        return Generate(id=key, prompt=self.prompt, max_new_tokens=limit)

    def row(self, key: str, answer: Answer) -> SampleRow:
        row = row_of(
            key,
            answer,
            task=self.task,
            prompt=self.prompt,
            target=self.target,
            scores=self._scores(answer),
            boxes=self.boxes,
            predicted_boxes=answer.boxes,
        )
        if self.task in ("referring", "grounded_caption"):
            return replace(row, parsed=bool(answer.boxes) and not answer.unread)
        return row

    def _scores(self, answer: Answer) -> dict[str, float]:
        if self.task in _CAPTIONS:
            return {f"{self.task}_facts": captions.caption_facts(answer.text, self.target)}
        if self.task == "referring":
            return {"box_accuracy": box_accuracy(answer.boxes, self.boxes)}
        if self.task == "grounded_caption":
            return {
                "grounded_caption_facts": captions.caption_facts(answer.text, self.target),
                "grounded_caption_boxes": box_accuracy(answer.boxes, self.boxes),
                "phrase_box_f1": phrases.phrase_box_f1(
                    phrases.phrase_boxes(answer.text, self.size),
                    phrases.phrase_boxes(self.target, self.size),
                ),
            }
        value = exact_match(answer.text, self.target)
        if self.task in STYLED_TASKS:
            is_sentence = len(answer.text.split()) >= _SENTENCE_WORDS
            as_asked = float(is_sentence == (self.task == "chat_answer"))
            return {
                **dict.fromkeys(("styled_accuracy", f"accuracy_{self.task}"), value),
                "answer_style": as_asked,
            }
        if self.task in ("reading", "board", "region"):
            return {f"{self.task}_accuracy": value}
        return {_POOLED[self.task]: value, f"accuracy_{self.task}": value}


def usual_answers(samples: Iterable[Sample]) -> dict[str, Answer]:
    """Returns the answer to each task that is right most often without looking.

    For `referring` it is the box of the median edges, elsewhere the most frequent answer; of
    equally frequent ones the first in the alphabet. Every turn of a conversation counts.
    """
    texts: dict[str, Counter[str]] = defaultdict(Counter)
    size: tuple[int, int] | None = None
    for sample in samples:
        if size is None and sample.images:
            size = upright_size(sample.images[0])
        for task, text in _asked(sample):
            texts[task][text] += 1
    frame = size or (1, 1)
    usual = {
        task: min(counts, key=lambda text: (-counts[text], text)) for task, counts in texts.items()
    }
    boxes = [
        box for text in texts["referring"].elements() for box in parse_boxes(text, frame).boxes
    ]
    if boxes:
        middle = [median(box[edge] for box in boxes) for edge in range(4)]
        usual["referring"] = format_boxes([middle], frame)
    return {
        task: Answer(id=task, text=text, boxes=parse_boxes(text, frame).boxes)
        for task, text in usual.items()
    }


def _asked(sample: Sample) -> Iterator[tuple[str, str]]:
    """Task and answer of each turn; a file that names no task by turn has one turn in a sample."""
    answers = [turn.text.strip() for turn in sample.messages if turn.role == "assistant"]
    tasks = sample.meta.get("tasks", (sample.task,))
    if len(tasks) != len(answers):
        raise ValueError(
            f"sample {sample.id!r} names {len(tasks)} tasks for {len(answers)} answers; "
            "expected one in meta.tasks for each"
        )
    return zip(tasks, answers, strict=True)


BENCHMARK = Microworld
