"""A tiny trained-looking model in a folder, as every tool meets it."""

from pathlib import Path

import pytest
import torch
from datasets import Dataset, disable_progress_bars

from tests.tiny import tiny_image, tiny_model

COLOURS = ("red", "blue", "green", "white")


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("client")
    torch.manual_seed(0)
    for part in tiny_model(folder, connector="mlp"):
        part.save_pretrained(folder / "saved")
    return folder / "saved"


@pytest.fixture(scope="session")
def conversations() -> Dataset:
    """What TRL and Trainer take: typed messages, and images beside them."""
    disable_progress_bars()
    rows = [
        {
            "images": [tiny_image(seed=n)],
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "image", "text": None},
                        {"type": "text", "text": f"What colour has number {n}?"},
                    ],
                },
                {"role": "assistant", "content": [{"type": "text", "text": COLOURS[n % 4]}]},
            ],
        }
        for n in range(8)
    ]
    return Dataset.from_list(rows)
