"""A user's own file: the last answer of each conversation, asked again and compared."""

from collections.abc import Mapping
from pathlib import Path
from typing import final

from isthmus.data.sources import read
from isthmus.evaluation.benchmark import Benchmark
from isthmus.evaluation.metrics.exact_match import VARIANT, exact_match
from isthmus.evaluation.requests import Answer, Generate, Request, split_last_answer, unique_ids
from isthmus.evaluation.scores import SampleRow, Scores, mean_scores


@final
class ConversationFile(Benchmark):
    """Exact match over the last assistant turn of each conversation; earlier turns are context."""

    def __init__(self, file: Path, image_root: Path, *, max_new_tokens: int = 64) -> None:
        """Reads the conversations.

        Args:
            file: LLaVA JSON or messages JSONL.
            image_root: Folder that the image paths of the file start from.
            max_new_tokens: Tokens after which an answer is cut off.
        """
        samples = list(read(file, image_root))
        if not samples:
            raise ValueError(f"{file} holds no conversation; expected at least one to score")
        self._file = file
        self._max_new_tokens = max_new_tokens
        self._tasks = [sample.task for sample in samples]
        self._cases = dict(zip(unique_ids(samples), map(split_last_answer, samples), strict=True))

    @property
    def name(self) -> str:
        """The kind, which is the name of the module."""
        return "conversation_file"

    @property
    def headline(self) -> str:
        """The metric that stands for the whole benchmark."""
        return "exact_match"

    @property
    def files(self) -> tuple[Path, ...]:
        """The conversations and their pictures."""
        images = {image: None for prompt, _ in self._cases.values() for image in prompt.images}
        return (self._file, *images)

    def requests(self) -> list[Request]:
        """One free answer for each conversation."""
        return [
            Generate(id=key, prompt=prompt, max_new_tokens=self._max_new_tokens)
            for key, (prompt, _) in self._cases.items()
        ]

    def score(self, answers: Mapping[str, Answer], *, seed: int = 0) -> Scores:
        """Scores every conversation, and each task by itself where the file names tasks."""
        rows = []
        for task, (key, (prompt, target)) in zip(self._tasks, self._cases.items(), strict=True):
            answer = answers[key]
            value = exact_match(answer.text, target)
            rows.append(
                SampleRow(
                    id=key,
                    task=task,
                    question=prompt.question,
                    target=target,
                    prediction=answer.text,
                    scores=dict.fromkeys(_names(task), value),
                    parsed=answer.finished and bool(answer.text),
                    images=prompt.images,
                    cluster=" ".join(map(str, prompt.images)) or key,
                )
            )
        names = dict.fromkeys(name for task in sorted(self._tasks) for name in _names(task))
        metrics = mean_scores(rows, dict.fromkeys(names, VARIANT), seed=seed)
        return Scores(metrics=metrics, rows=tuple(rows))

    def baselines(self) -> dict[str, dict[str, Answer]]:
        """None: one file does not say which answers its questions usually have."""
        return {}


def _names(task: str) -> list[str]:
    """The metrics that a sample counts for."""
    return ["exact_match", *([f"exact_match_{task}"] if task else [])]


BENCHMARK = ConversationFile
