"""Models that write captions of which some come to an end, and a file of captions."""

import json
from pathlib import Path
from typing import Any

import torch

from isthmus import IsthmusForAlignment, IsthmusForConditionalGeneration, IsthmusProcessor
from tests.tiny import tiny_image, tiny_model
from tests.tiny_alignment import WORDS, tiny_alignment

NUM = 5
"""Images of the file."""


def captioning() -> IsthmusForAlignment:
    """A model that holds images and texts together."""
    model = tiny_alignment(seed=1)
    with torch.no_grad():
        model.lm_head.bias[model.config.eos_token_id] = 3.0
    return model


def answering(
    folder: Path, **choices: Any
) -> tuple[IsthmusForConditionalGeneration, IsthmusProcessor]:
    """A model that answers, and its processor."""
    model, processor = tiny_model(folder, connector="linear", **choices)
    model.generation_config.eos_token_id = [
        model.generation_config.eos_token_id,
        *range(150, 180),
    ]
    return model, processor


def write_captioned(folder: Path) -> Path:
    """Writes images with two captions each; returns the file, whose folder is the image root."""
    (folder / "images").mkdir()
    rows = []
    for number in range(NUM):
        tiny_image(seed=number).save(folder / f"images/{number}.png")
        turns: list[dict[str, Any]] = [{"role": "user", "content": [{"type": "image"}]}]
        turns.append({"role": "assistant", "content": f"a {WORDS[number + 1]} star"})
        turns.append({"role": "user", "content": "Another."})
        turns.append({"role": "assistant", "content": f"{WORDS[-1]} a {WORDS[number]}"})
        row = {"id": f"row-{number}", "task": "caption", "meta": {"url": f"web/{number}"}}
        rows.append({**row, "images": [f"images/{number}.png"], "messages": turns})
    file = folder / "captions.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file
