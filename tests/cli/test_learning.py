"""What is promised of the quick start, on the shipped towers and from an empty cache: it learns."""

import json
from pathlib import Path

import pytest

from isthmus.cli import main


@pytest.mark.slow
def test_the_quick_start_sees(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ISTHMUS_CACHE", str(tmp_path / "cache"))
    assert main(["quickstart", "--output", str(tmp_path / "run")]) == 0
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["vqa_accuracy"] >= 0.80
    assert results["vqa_accuracy_compositional"] >= 0.70
    assert min(results["accuracy_colour"], results["accuracy_shape"]) >= 0.90
    assert results["vqa_accuracy_blind"] <= 0.50
    assert results["vqa_accuracy_interval"][0] > results["vqa_accuracy_blind_interval"][1]
    assert results["peak_memory_gb"] <= 3
