"""Names in a recipe become towers and files; the embedded world takes the path of a user's data."""

from dataclasses import replace
from pathlib import Path

import pytest
from transformers.utils import logging

from isthmus.data.sources import read
from isthmus.training import resolve
from isthmus.training.resolve import build_model, microworld_files
from isthmus.training.stage import MicroworldData
from tests.training.tiny_recipe import tiny_recipe

VAL = MicroworldData(split="val", num=4, seed=1)


def test_the_embedded_world_is_written_once_and_read_like_any_file(cache: Path) -> None:
    files = microworld_files(VAL)
    assert files.file.is_relative_to(cache)
    written = files.file.stat().st_mtime_ns
    assert microworld_files(VAL) == files
    assert files.file.stat().st_mtime_ns == written
    samples = list(read(files.file, files.image_root))
    assert len(samples) == 4
    assert any(sample.images for sample in samples)


def test_other_numbers_are_other_files() -> None:
    others = [
        MicroworldData(split="val", num=4, seed=2),
        MicroworldData(split="val", num=3, seed=1),
        MicroworldData(split="test", num=4, seed=1),
        MicroworldData(split="val", num=4, seed=1, turns=3),
        MicroworldData(split="val", num=4, seed=1, tasks=("colour",)),
    ]
    assert len({microworld_files(data).file for data in [VAL, *others]}) == 6


def test_turns_and_tasks_are_as_asked() -> None:
    data = MicroworldData(split="val", num=4, turns=3, tasks=("board", "position"))
    files = microworld_files(data)
    for sample in read(files.file, files.image_root):
        assert len(sample.messages) <= 6
        assert sample.task in data.tasks


def test_an_export_that_dies_leaves_nothing(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from isthmus.microworld import export

    whole = export.export

    def dying(directory: Path, **options: object) -> None:
        whole(directory, **options)
        raise OSError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(export, "export", dying)
        with pytest.raises(OSError, match="No space"):
            microworld_files(VAL)
    assert list((cache / "microworld").iterdir()) == []
    assert len(microworld_files(VAL).file.read_text().splitlines()) == 4


def test_a_changed_world_is_another(monkeypatch: pytest.MonkeyPatch) -> None:
    before = microworld_files(VAL)
    monkeypatch.setattr(resolve, "world_digest", lambda: "changed")
    assert microworld_files(VAL) != before


def test_the_attention_kernel_is_that_of_both_towers(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = replace(tiny_recipe(tmp_path).model, attention="eager")
    logging.enable_propagation()  # otherwise what transformers says is not seen here
    try:
        model, _ = build_model(config)
    finally:
        logging.disable_propagation()
    for part in (model.model.vision_tower.encoder, model.model.language_model):
        assert part.config._attn_implementation == "eager"
    assert not caplog.records
    plain, _ = build_model(replace(config, attention=None))
    assert plain.model.language_model.config._attn_implementation == "sdpa"
