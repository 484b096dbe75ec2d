"""A cache of its own for each test, and no progress bars of transformers."""

from pathlib import Path

import pytest
from transformers.utils import logging


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ISTHMUS_CACHE", str(tmp_path / "cache"))
    logging.disable_progress_bar()
    return tmp_path / "cache"
