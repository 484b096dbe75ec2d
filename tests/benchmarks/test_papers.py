"""The papers side by side: every twin exists, and intervals are read as they are said to be."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import papers, papers_claims
from benchmarks.papers import runs_of
from benchmarks.papers_claims import (
    BLIND,
    BLIND_CLIPS,
    CLAIMS,
    FIRST,
    GROUPS,
    MAIN,
    Claim,
    known,
    twin,
)
from benchmarks.papers_table import beside, held, steps_to_nearly_all, systems, verdict
from isthmus import recipes
from isthmus.evaluation.benchmarks.microworld import TEXT_TASKS, VQA_TASKS
from isthmus.recipes.microworld._shared import TASKS
from isthmus.study.run import run
from isthmus.training.log import RunLog
from tests.recipes.test_recipes import short


def test_every_twin_that_is_named_is_a_recipe() -> None:
    named = set(known()) - {BLIND, BLIND_CLIPS}
    assert {f"microworld.{name}" for name in named} <= set(recipes.names())
    assert set(MAIN) < named
    assert len(MAIN) == len(set(MAIN)) == 14


def test_groups_hold_each_task_that_is_learned_once() -> None:
    grouped = [task for tasks in GROUPS.values() for task in tasks]
    assert sorted(grouped) == sorted(TASKS)
    assert set(grouped) >= {*VQA_TASKS, *TEXT_TASKS}


@pytest.mark.parametrize(
    ("says", "interval", "expected"),
    [
        ("better", (0.01, 0.2), "confirmed"),
        ("better", (-0.01, 0.2), "not shown"),
        ("better", (-0.3, -0.1), "reversed"),
        ("better", None, "not shown"),
        ("no better", (-0.01, 0.2), "not contradicted"),
        ("no better", (-0.3, -0.1), "not contradicted"),
        ("no better", (0.01, 0.2), "reversed"),
    ],
)
def test_a_claim_is_confirmed_by_what_lies_on_its_side_alone(
    says: str, interval: tuple[float, float] | None, expected: str
) -> None:
    claim = Claim(text="", source="", better="a", worse="b", says=says)  # type: ignore[arg-type]
    ends = interval and {"low": interval[0], "high": interval[1]}
    assert verdict(claim, ends) == expected


def test_steps_are_counted_from_the_beginning_of_the_last_stage(tmp_path: Path) -> None:
    with RunLog(tmp_path, resumed_from=None) as log:
        for step in (1, 2, 3):
            log.scalars(step, {"stage": "first", "loss": 1.0})
        for step, value in ((5, 0.3), (7, 0.79), (9, 0.8), (11, 0.8)):
            told = {"stage": "second", "validation_token_accuracy": value}
            log.scalars(step, told)
    assert steps_to_nearly_all(tmp_path) == 4  # 0.79 of 0.8 is more than 98 %
    (tmp_path / "none").mkdir()
    with RunLog(tmp_path / "none", resumed_from=None) as log:
        log.scalars(1, {"stage": "first", "loss": 1.0})
    assert steps_to_nearly_all(tmp_path / "none") is None


def test_what_starts_from_a_first_stage_starts_from_that_of_its_seed(tmp_path: Path) -> None:
    runs = runs_of(["blip2_instructions", "prismatic"], (0, 2), tmp_path)
    starts = {(each.name, each.recipe.seed): each.recipe.start for each in runs}
    assert starts["blip2_instructions", 2] == tmp_path / FIRST / "seed-2"
    assert starts["prismatic", 2] is None
    for name in (BLIND, BLIND_CLIPS):
        (blind, *_) = (each.recipe for each in runs if each.name == name)
        assert [stage.blind for stage in blind.stages] == [True]
    assert blind.stages[0].data == twin("vadapter").stages[-1].data


def test_an_earlier_file_fills_in_what_still_holds() -> None:
    def line(name: str, mean: float) -> dict[str, Any]:
        return {"overall": {"mean": mean}, "recipes": [twin(name).digest()]}

    def claim(better: str, worse: str, verdict: str) -> dict[str, Any]:
        (one,) = (each for each in CLAIMS if (each.better, each.worse) == (better, worse))
        return {"text": one.text, "better": better, "worse": worse, "verdict": verdict}

    earlier = {
        "systems": {
            "prismatic": line("prismatic", 0.5),
            BLIND: line(BLIND, 0.2),
            "cogvlm_ema": {**line("cogvlm_ema", 0.7), "recipes": ["of another length"]},
            "gone": {"overall": {"mean": 0.1}, "recipes": []},
        },
        "claims": [
            claim("llava_1_5", "prismatic", "kept"),
            claim("cogvlm_ema", "cogvlm", "of a recipe that changed"),
            claim("prismatic", "prismatic_vit", "measured before"),
        ],
    }
    now = {
        "systems": {
            name: line(name, 0.6) for name in ("prismatic_vit", "llava_1_5", "prismatic", "cogvlm")
        },
        "claims": [claim("prismatic", "prismatic_vit", "measured now")],
    }
    found = beside(now, earlier)
    assert list(found["systems"]) == ["prismatic", "prismatic_vit", "llava_1_5", "cogvlm", BLIND]
    assert found["systems"]["prismatic"]["overall"]["mean"] == 0.6
    assert [each["verdict"] for each in found["claims"]] == ["kept", "measured now"]


@pytest.mark.slow
def test_a_small_study_from_twins_to_verdicts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ISTHMUS_CACHE", str(tmp_path / "cache"))
    for name, num in (("NUM_TEST", 100), ("NUM_CLIPS", 20), ("NUM_TEXTS", 10)):
        monkeypatch.setattr(papers, name, num)
    whole = recipes.resolve
    monkeypatch.setattr(papers_claims.recipes, "resolve", lambda name: short(whole(name)))
    names = ["blip2_instructions", "vadapter", "vadapter_perceiver", "cogvlm"]
    runs = runs_of(names, (0, 1), tmp_path / "study")
    run(runs, papers.execute())
    table = systems(runs)
    assert set(table) == {*names, BLIND, BLIND_CLIPS}
    assert all(set(GROUPS) <= set(line) for line in table.values())
    assert table["cogvlm"]["text_identical"] == [True, True]
    assert table["cogvlm"]["perplexity"] == table["cogvlm"]["perplexity_before"]
    assert table["blip2_instructions"]["text_identical"] == [False, False]
    assert table["vadapter"]["visual_tokens"] == 16
    assert len(table["vadapter"]["video"]) == 2
    assert len(table[BLIND_CLIPS]["video"]) == 2
    assert table["cogvlm"]["video"] == []
    assert table["vadapter"]["steps_to_nearly_all"] is not None
    claims = {claim["by"]: claim for claim in held(runs)}
    assert set(claims) == {"answers", "steps"}
    for claim in claims.values():
        assert (claim["better"], claim["worse"]) == ("vadapter", "vadapter_perceiver")
        assert claim["difference"]["seeds"] == 2
        assert claim["verdict"] in ("confirmed", "reversed", "not shown")
    json.dumps(table)
