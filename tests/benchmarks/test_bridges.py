"""The study of bridges leaves nothing out, and its table says what the run folders say."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks import bridges
from benchmarks.bridges import Options, recipes
from benchmarks.bridges_arms import TOKENS, Arm, arms, check
from benchmarks.bridges_table import markdown, table_of
from isthmus import connectors, fusion
from isthmus.connectors.linear import Linear
from isthmus.connectors.pixel_shuffle import PixelShuffle
from isthmus.fusion.gated_cross_attention import GatedCrossAttention
from isthmus.microworld.towers import located
from isthmus.modeling.configuration_isthmus import IsthmusConfig
from isthmus.study.run import Run, grid

FEW = {
    "linear": Arm(connector=Linear.Config(), lr=3e-3),
    "pixel_shuffle": Arm(connector=PixelShuffle.Config(), lr=1e-3),
    "gated_cross_attention": Arm(
        connector=Linear.Config(), fusion=GatedCrossAttention.Config(), lr=1e-3
    ),
}
SCORES = {
    "blind": [0, 0, 0, 1],
    "linear": [1, 0, 1, 1],
    "pixel_shuffle": [0, 0, 1, 1],
    "gated_cross_attention": [0, 0, 0, 1],
}
TASKS = ("colour", "relation", "position", "colour")


@pytest.fixture(scope="module")
def every() -> dict[str, Arm]:
    return arms()


def test_every_connector_and_fusion_has_an_arm(every: dict[str, Arm]) -> None:
    assert set(every) == {*connectors.names(), *fusion.names()} - {"inline"}


def test_what_has_no_arm_is_named_with_its_file(every: dict[str, Arm]) -> None:
    for name, package in (("glu", "connectors"), ("visual_expert", "fusion")):
        others = {other: arm for other, arm in every.items() if other != name}
        with pytest.raises(ValueError, match=rf"src/isthmus/{package}/{name}\.py has no arm"):
            check(others)


def test_the_budget_is_equal_but_for_the_new_parts(every: dict[str, Arm]) -> None:
    given = recipes(every)
    stages = {name: recipe.stages[0] for name, recipe in given.items()}
    assert next(iter(given)) == "blind"
    assert [name for name, stage in stages.items() if stage.blind] == ["blind"]
    same = {replace(stage, train=stage.train[-1:], blind=False) for stage in stages.values()}
    assert len(same) == 1


def test_tokens_are_few_where_a_connector_chooses(every: dict[str, Arm]) -> None:
    tokens = {name: arm.connector.num_tokens((8, 8)) for name, arm in every.items()}
    whole = {"linear", "mlp", "glu", "visual_expert", "gated_cross_attention"}
    assert {name for name, number in tokens.items() if number >= 64} == whole
    assert {number for name, number in tokens.items() if name not in whole} == {TOKENS}


def finish(run: Run, scores: list[int]) -> None:
    run.folder.mkdir(parents=True)
    model = run.recipe.model
    config = IsthmusConfig.from_towers(
        vision=located(model.vision),
        language=located(model.language),
        connector=model.connector,
        fusion=model.fusion,
    )
    config.save_pretrained(run.folder)
    parts = [
        {"part": "vision_tower", "trainable": 0, "lr": 0.0},
        {"part": "connector", "trainable": 30, "lr": 1e-3},
        {"part": "language_model", "trainable": 500, "lr": 1e-3},
    ]
    if model.fusion.kind != "inline":
        parts.append({"part": "fusion", "trainable": 7, "lr": 1e-3})
    stage = {"steps": 5, "samples": 40, "parts": parts}
    rows = [
        {"id": n, "task": task, "vqa_accuracy": score, "cluster": n}
        for n, (task, score) in enumerate(zip(TASKS, scores, strict=True))
    ]
    metrics = {"vqa_accuracy": {"value": 0.0}, "accuracy_colour": {"value": 0.1 * run.recipe.seed}}
    for name, content in {
        "recipe.json": {"stages": [stage]},
        "results.json": {"metrics": metrics},
    }.items():
        (run.folder / name).write_text(json.dumps(content))
    (run.folder / "samples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    run.finish()


@pytest.fixture
def runs(tmp_path: Path) -> list[Run]:
    runs = grid(recipes(FEW), [0, 1, 2], tmp_path)
    for run in runs:
        if run.recipe.seed < 2:
            finish(run, SCORES[run.name])
    return runs


def test_the_numbers_by_hand(runs: list[Run], tmp_path: Path) -> None:
    speed = {"samples_per_second": {"linear": 12.34}}
    (tmp_path / "speed.json").write_text(json.dumps(speed))
    table = table_of(runs, tmp_path)
    linear, gated = table["arms"]["linear"], table["arms"]["gated_cross_attention"]
    assert (table["samples_overall"], table["samples_spatial"]) == (4, 2)
    assert (linear["overall"]["mean"], linear["spatial"]["mean"]) == (0.75, 0.5)
    assert linear["overall"]["seeds"] == (0, 1)
    assert linear["overall"]["minus_blind"]["value"] == 0.5
    assert linear["spatial"]["minus_blind"]["value"] == 0.5
    assert linear["spatial"]["over_samples"] == {"low": 0.0, "high": 1.0}
    assert "minus_linear" not in linear["overall"]
    assert table["arms"]["pixel_shuffle"]["overall"]["minus_linear"]["value"] == -0.25
    assert linear["tasks"] == {"colour": 0.05}
    assert (linear["visual_tokens"], linear["text_positions"]) == (64, 64)
    assert (gated["visual_tokens"], gated["text_positions"]) == (64, 1)
    assert table["arms"]["pixel_shuffle"]["visual_tokens"] == 16
    assert (linear["bridge_parameters"], linear["trainable_parameters"]) == (30, 530)
    assert gated["bridge_parameters"] == 37
    assert (linear["samples_per_second"], gated["samples_per_second"]) == (12.34, None)
    assert table["failed"] == ["gated_cross_attention"]
    shown = next(line for line in markdown(table).splitlines() if line.startswith("| linear"))
    assert shown.split(" | ")[1:6] == ["64", "30", "0.001", "75.0 +- 0.0", "25.0 to 100.0"]
    assert shown.endswith("| 12.3 |")


def test_a_finished_study_is_only_tabulated(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ISTHMUS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(bridges, "arms", lambda: FEW)
    monkeypatch.setattr(bridges, "NUM_TEST", 2)
    for run in grid(recipes(FEW), [0], tmp_path / "study"):
        finish(run, SCORES[run.name])

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("nothing is left to train")

    monkeypatch.setattr("isthmus.study.execute.train", refuse)
    output = tmp_path / "bridges.json"
    bridges.main(Options(directory=tmp_path / "study", output=output, seeds=(0,)))
    found = json.loads(output.read_text())
    assert found == json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["arms"]["linear"]["overall"]["over_seeds"] is None
    assert found["command"] == "python -m benchmarks.bridges"
