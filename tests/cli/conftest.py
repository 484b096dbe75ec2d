"""One tiny trained model and its data, shared by the tests of all commands."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from isthmus.cli import main
from isthmus.connectors.linear import Linear
from isthmus.training.data import MicroworldData
from isthmus.training.models import ModelConfig
from isthmus.training.stage import Part, Recipe, Schedule, Stage
from tests.tiny import save_language, save_vision
from tests.tiny_data import write_data


@dataclass(frozen=True)
class World:
    """Files that a user would have."""

    recipe: Path
    """A recipe.json over tiny towers and the microworld."""
    data: Path
    """Messages JSONL; its folder is the image root."""
    model: Path
    """What `isthmus train` left."""


def json_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def one_line_refusal(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """What a command says when a setting is wrong."""
    assert main(words) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    return said


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ISTHMUS_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory, _own_cache: None) -> World:
    folder = tmp_path_factory.mktemp("world")
    recipe = Recipe(
        name="tests.tiny",
        description="A tiny recipe.",
        model=ModelConfig(
            vision=save_vision(folder / "vision"),
            language=save_language(folder / "language", max_position_embeddings=2048),
            connector=Linear.Config(),
        ),
        stages=(
            Stage(
                name="connector",
                train=(Part(name="connector", lr=1e-2),),
                data=MicroworldData(split="train", num=12),
                schedule=Schedule(epochs=1, batch_size=4),
                feature_store=True,
            ),
        ),
    )
    (folder / "tiny.json").write_text(json.dumps(recipe.to_dict()))
    data = write_data(folder / "data", 12)
    words = ["train", str(folder / "tiny.json"), "--data", str(data)]
    words += ["--image-root", str(data.parent), "--output", str(folder / "model")]
    assert main(words) == 0
    return World(recipe=folder / "tiny.json", data=data, model=folder / "model")
