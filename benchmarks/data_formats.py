"""Facts of pictures, written as public data sets are; each function writes the files of one."""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from isthmus.data.facts import Fact
from isthmus.microworld.scene import CANVAS

Rows = Sequence[tuple[int, Sequence[Fact]]]
"""The number of a picture, and facts about it."""
Write = Callable[[Rows, Path], None]
"""Writes rows into a folder."""


def _numbered(rows: Rows) -> Iterator[tuple[str, int, Any]]:
    for image, facts in rows:
        for number, fact in enumerate(facts):
            yield f"{image}-{number}", image, fact


def vqa(rows: Rows, folder: Path) -> None:
    """VQAv2: a file of questions and one of annotations."""
    asked, answered = [], []
    for key, image, fact in _numbered(rows):
        asked.append({"question_id": key, "image_id": image, "question": fact.question})
        answers = [{"answer": fact.answer}] * 10
        answered.append(
            {"question_id": key, "multiple_choice_answer": fact.answer, "answers": answers}
        )
    _write(folder / "questions.json", {"questions": asked})
    _write(folder / "annotations.json", {"annotations": answered})


def gqa(rows: Rows, folder: Path) -> None:
    """GQA: an object of questions."""
    _write(
        folder / "questions.json",
        {
            key: {"imageId": image, "question": fact.question, "answer": fact.answer}
            for key, image, fact in _numbered(rows)
        },
    )


def vsr(rows: Rows, folder: Path) -> None:
    """VSR: statements, one to a line."""
    _write_lines(
        folder / "train.jsonl",
        [
            {"image": f"{image}.png", "caption": fact.statement, "label": int(fact.is_true)}
            for _, image, fact in _numbered(rows)
        ],
    )


def science_qa(rows: Rows, folder: Path) -> None:
    """ScienceQA: problems, and which of them are learned from."""
    problems = {
        key: {
            "question": fact.question,
            "choices": list(fact.choices),
            "answer": fact.index,
            "hint": "",
            "image": f"{image}.png",
        }
        for key, image, fact in _numbered(rows)
    }
    _write(folder / "problems.json", problems)
    _write(folder / "pid_splits.json", {"train": list(problems)})


def aokvqa(rows: Rows, folder: Path) -> None:
    """A-OKVQA: a list of questions with choices."""
    found = [
        {
            "question_id": key,
            "image_id": image,
            "split": "train",
            "question": fact.question,
            "choices": list(fact.choices),
            "correct_choice_idx": fact.index,
            "rationales": [],
            "direct_answers": [fact.choices[fact.index]] * 10,
        }
        for key, image, fact in _numbered(rows)
    ]
    _write(folder / "train.json", found)


def refcoco(rows: Rows, folder: Path) -> None:
    """RefCOCO as a table, one box to a line."""
    _write_lines(
        folder / "train.jsonl",
        [
            {
                "question_id": key,
                "image": f"{image}.png",
                "answer": [fact.phrase],
                "bbox": _corner_and_extent(fact.box),
            }
            for key, image, fact in _numbered(rows)
        ],
    )


def visual_genome(rows: Rows, folder: Path) -> None:
    """Regions of Visual Genome, and the sizes of its images."""
    told: dict[int, list[dict[str, Any]]] = {}
    for key, image, fact in _numbered(rows):
        x, y, width, height = _corner_and_extent(fact.box)
        place = {"x": x, "y": y, "width": width, "height": height}
        told.setdefault(image, []).append({"region_id": key, "phrase": fact.phrase, **place})
    _write(
        folder / "region_descriptions.json",
        [{"id": image, "regions": found} for image, found in told.items()],
    )
    _write(
        folder / "image_data.json",
        [{"image_id": image, "width": CANVAS, "height": CANVAS} for image in told],
    )


def karpathy(rows: Rows, folder: Path) -> None:
    """Karpathy's file of images with their sentences."""
    images = [
        {
            "imgid": key,
            "filename": f"{image}.png",
            "split": "train",
            "sentences": [{"raw": fact.text}],
        }
        for key, image, fact in _numbered(rows)
    ]
    _write(folder / "dataset.json", {"images": images})


def _corner_and_extent(box: Sequence[float]) -> list[float]:
    x0, y0, x1, y1 = box
    return [x0, y0, x1 - x0, y1 - y0]


def _write(file: Path, content: Any) -> None:
    file.write_text(json.dumps(content), encoding="utf-8")


def _write_lines(file: Path, rows: Sequence[Any]) -> None:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
