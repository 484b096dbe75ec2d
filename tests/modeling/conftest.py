"""One tiny model per test session, and copies of it."""

import copy
from pathlib import Path

import pytest
import torch

from isthmus import IsthmusForConditionalGeneration, IsthmusProcessor
from tests.tiny import tiny_model

Pair = tuple[IsthmusForConditionalGeneration, IsthmusProcessor]


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    model, processor = tiny_model(tmp_path_factory.mktemp("towers"), connector="mlp")
    with torch.no_grad():
        # A fresh connector speaks softly; loud visual tokens make every mistake visible.
        model.model.connector.layers.linear_2.weight.mul_(20)
    return model, processor


@pytest.fixture
def model(built: Pair) -> IsthmusForConditionalGeneration:
    return copy.deepcopy(built[0])


@pytest.fixture
def processor(built: Pair) -> IsthmusProcessor:
    return copy.deepcopy(built[1])


@pytest.fixture
def saved(built: Pair, tmp_path: Path) -> Path:
    for part in built:
        part.save_pretrained(tmp_path / "saved")
    return tmp_path / "saved"
