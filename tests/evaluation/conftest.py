from dataclasses import dataclass
from pathlib import Path

import pytest

from isthmus.data.sample import ImagePart, Message, Text
from isthmus.evaluation.requests import Prompt
from isthmus.modeling.modeling_isthmus import IsthmusForConditionalGeneration
from isthmus.modeling.processing_isthmus import IsthmusProcessor
from tests.tiny import save_language, save_vision, tiny_image


@dataclass
class TinyVlm:
    """A random model with its processor, and a few pictures to show it."""

    model: IsthmusForConditionalGeneration
    processor: IsthmusProcessor
    pictures: list[Path]

    def prompt(self, text: str, *pictures: int) -> Prompt:
        parts = (*(ImagePart() for _ in pictures), Text(text))
        return Prompt(
            messages=(Message("user", parts),), images=tuple(self.pictures[i] for i in pictures)
        )


@pytest.fixture(scope="session")
def vlm(tmp_path_factory: pytest.TempPathFactory) -> TinyVlm:
    folder = tmp_path_factory.mktemp("vlm")
    towers = {
        "vision": save_vision(folder / "vision"),
        "language": save_language(folder / "language"),
        "connector": "linear",
    }
    pictures = []
    for seed in range(4):
        pictures.append(folder / f"{seed}.png")
        tiny_image(seed).save(pictures[-1])
    return TinyVlm(
        IsthmusForConditionalGeneration.from_towers(**towers),
        IsthmusProcessor.from_towers(**towers),
        pictures,
    )
