"""Strips of scenes: what is asked of them is true of what they show, however they are resized."""

import json
from pathlib import Path
from random import Random

import numpy as np
import pytest

from benchmarks import resize
from benchmarks.resize import (
    BLIND,
    HEIGHT,
    MOST,
    NUM,
    WAYS,
    asked_scene,
    picture,
    runs_of,
    strip_scenes,
    strips,
)
from isthmus.evaluation.benchmarks.microworld import Microworld
from isthmus.evaluation.requests import Answer
from isthmus.geometry.boxes import parse_boxes
from isthmus.microworld.render import render
from isthmus.microworld.scene import CANVAS, SPLITS
from isthmus.microworld.tasks.grounding import referring
from isthmus.training.models import ModelConfig


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resize, "NUM", dict.fromkeys(NUM, 25))


@pytest.mark.parametrize("split", SPLITS)
def test_a_strip_holds_all_that_is_in_its_scene(split: str) -> None:
    counts, edges = set(), set()
    for scene, top, _ in strip_scenes(split, 30):  # type: ignore[arg-type]
        counts.add(len(scene.things))
        edges.add(top)
        assert scene.split == split
        boxes = [thing.box for thing in asked_scene(scene, top).things]
        assert all(0 <= box[1] < box[3] <= CANVAS for box in boxes)
        shown = picture(scene, top)
        assert shown.size == (CANVAS, HEIGHT)
        rows = np.asarray(render(scene))[top : top + HEIGHT]
        assert np.array_equal(np.asarray(shown), rows)
    assert counts == set(range(1, MOST + 1))
    assert len(edges) > 5


def test_boxes_are_shares_of_the_strip() -> None:
    for scene, top, _ in strip_scenes("train", 20):
        question = referring(asked_scene(scene, top), Random(0))
        if question is None:
            continue
        (read,) = parse_boxes(question.answer, (CANVAS, HEIGHT)).boxes
        true = [
            (x0, y0 - top, x1, y1 - top) for x0, y0, x1, y1 in (thing.box for thing in scene.things)
        ]
        assert min(np.abs(np.subtract(read, box)).max() for box in true) < 0.7  # of 64 in percent


@pytest.mark.usefixtures("few")
def test_the_truth_is_right_and_lies_in_pixels_of_the_strip(tmp_path: Path) -> None:
    test = strips(tmp_path, "test")
    rows = [json.loads(line) for line in test.file.read_text("utf-8").splitlines()]
    asked = Microworld(test.file, test.image_root)
    said = {row["id"]: row["messages"][-1]["content"][0]["text"] for row in rows}
    answers = {
        key: Answer(id=key, text=text, boxes=parse_boxes(text, (CANVAS, HEIGHT)).boxes)
        for key, text in said.items()
    }
    metrics = asked.score(answers).metrics
    assert {"box_accuracy", "vqa_accuracy"} <= set(metrics)
    assert all(found.value == 1 for found in metrics.values())


@pytest.mark.usefixtures("few")
def test_ways_differ_in_nothing_else(tmp_path: Path) -> None:
    runs = {each.name: each.recipe for each in runs_of((0,), tmp_path)}
    assert set(runs) == {*WAYS, BLIND}
    for way in WAYS:
        model, padded = runs[way].model, runs["letterbox"].model
        assert isinstance(model, ModelConfig)
        assert isinstance(padded, ModelConfig)
        assert model.image_resize == way
        assert model.to_dict() | {"image_resize": "letterbox"} == padded.to_dict()
        assert runs[way].stages == runs["letterbox"].stages
    assert [stage.blind for stage in runs[BLIND].stages] == [True]
    written = strips(tmp_path / "strips", "train").file
    before = written.stat().st_mtime_ns
    runs_of((1,), tmp_path)
    assert written.stat().st_mtime_ns == before
