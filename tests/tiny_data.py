"""A tiny data set on disk: pictures of noise, questions of varied length."""

import json
from pathlib import Path
from typing import Any

from tests.tiny import tiny_image

ANSWERS = ("red", "a blue ring", "three", "yes")


def rows(num: int, *, first: int = 0) -> list[dict[str, Any]]:
    """Rows with no, one or two images; every third has two turns."""
    made = []
    for n in range(first, first + num):
        images = [f"images/{n}-{i}.png" for i in range((1, 1, 2, 0)[n % 4])]
        question = [
            *({"type": "image"} for _ in images),
            {"type": "text", "text": f"What{'?' * n}"},
        ]
        turns: list[tuple[str, Any]] = [("user", question), ("assistant", ANSWERS[n % 4])]
        if n % 3 == 0:
            turns += [("user", "And now?"), ("assistant", f"Now {n}.")]
        messages = [{"role": role, "content": content} for role, content in turns]
        made.append({"id": f"row-{n}", "images": images, "messages": messages, "task": "noise"})
    return made


def write_data(folder: Path, num: int, *, first: int = 0, name: str = "messages.jsonl") -> Path:
    """Writes rows and their images; returns the data file, whose folder is the image root."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    made = rows(num, first=first)
    for row in made:
        for seed, image in enumerate(row["images"]):
            tiny_image(seed=10 * int(row["id"][4:]) + seed).save(folder / image)
    file = folder / name
    file.write_text("".join(json.dumps(row) + "\n" for row in made), encoding="utf-8")
    return file
