"""A mixture of three small data sets, some of whose rows have faults."""

import json
from pathlib import Path

import yaml

from tests.tiny import tiny_image
from tests.tiny_data import write_data

NUM = 22
FAULTY = ("told-3", "told-9", "asked-5")
"""Rows with a damaged image, without a caption, and without an image."""


def write_mixture(folder: Path, *, samples: int | None = None) -> Path:
    """Writes conversations, captions and questions; returns the file that describes the mixture.

    Args:
        folder: made when absent.
        samples: draws of an epoch.
    """
    write_data(folder, NUM, name="said.jsonl")
    for number in range(8):
        tiny_image(seed=1000 + number).save(folder / f"images/p{number}.png")
    (folder / "images/broken.png").write_bytes((folder / "images/p0.png").read_bytes()[:60])
    told = [
        {"id": f"told-{n}", "image": f"images/p{n % 8}.png", "caption": "a " * (n % 5) + "thing"}
        for n in range(NUM)
    ]
    told[3]["image"], told[9]["caption"] = "images/broken.png", ""
    asked = [
        {"qid": n, "picture": f"p{n % 8}", "q": f"What is {n}?", "a": ["red", "blue"][n % 2]}
        for n in range(NUM)
    ]
    asked[5]["picture"] = "gone"
    for name, rows in (("told", told), ("asked", asked)):
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(text)
    field_map = {
        "fact": "vqa",
        "id": "asked-{qid}",
        "image": "images/{picture}.png",
        "fields": {"question": "q", "answer": "a"},
    }
    entries = [
        {"name": "said", "file": "said.jsonl"},
        {"name": "told", "file": "told.jsonl"},
        {"name": "asked", "source": field_map, "file": "asked.jsonl"},
    ]
    file = folder / "mixture.yaml"
    asking = {"diversity": "ten_flipped"}
    file.write_text(yaml.safe_dump({"entries": entries, "asking": asking, "samples": samples}))
    return file
