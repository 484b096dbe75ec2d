"""The papers side by side: every twin exists, and intervals are read as they are said to be."""

import json
import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks import papers, papers_claims, papers_table
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
from benchmarks.papers_table import (
    beside,
    held,
    samples_per_second,
    steps_to,
    steps_to_nearly_all,
    systems,
    verdict,
)
from isthmus import recipes
from isthmus.evaluation.benchmarks.microworld import TEXT_TASKS, VQA_TASKS
from isthmus.recipes.microworld._shared import TASKS
from isthmus.study.run import Run, run
from isthmus.training.log import RunLog
from isthmus.training.stage import Recipe
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
    assert steps_to(0.795, tmp_path) == 6


def test_speed_is_that_of_the_last_stage_without_its_pauses(tmp_path: Path) -> None:
    with RunLog(tmp_path, resumed_from=None) as log:
        log.scalars(1, {"stage": "first", "samples": 100, "seconds": 1.0})
        for step, (samples, seconds) in enumerate(
            ((110, 3.0), (120, 4.0), (130, 9.0), (140, 10.1))
        ):
            log.scalars(10 + step, {"stage": "second", "samples": samples, "seconds": seconds})
            log.scalars(10 + step, {"stage": "second", "validation_loss": 1.0})
    assert samples_per_second(tmp_path) == pytest.approx(10 / 1.1)


def test_of_steps_both_are_to_reach_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def finished(name: str, seed: int, *accuracies: float) -> Run:
        recipe = replace(twin(name), seed=seed)
        run = Run(name=name, recipe=recipe, folder=tmp_path / f"{name}-{seed}")
        run.folder.mkdir()
        with RunLog(run.folder, resumed_from=None) as log:
            for number, value in enumerate(accuracies, start=1):
                told = {"stage": "last", "validation_token_accuracy": value}
                log.scalars(50 * number, told)
        return run

    runs = [
        # It is there at once, with little: the other had as much in no more steps.
        *(finished("vadapter", 0, 0.5, 0.5), finished("vadapter_perceiver", 0, 0.6, 0.9)),
        *(finished("vadapter", 1, 0.9, 0.9), finished("vadapter_perceiver", 1, 0.6, 0.9)),
        finished("vadapter", 2, 0.9, 0.9),
    ]
    only = [claim for claim in CLAIMS if claim.by == "steps"]
    monkeypatch.setattr(papers_table, "CLAIMS", only)
    (found,) = held(runs)
    assert found["difference"]["value"] == (0 + 50) / 2
    assert found["seeds"] == 2
    assert held(runs[-1:]) == []


def test_forgetting_is_told_in_nats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    only = [claim for claim in CLAIMS if claim.by == "perplexity"]
    monkeypatch.setattr(papers_table, "CLAIMS", only)
    runs = []
    for name, perplexity in (("cogvlm", 20.0), ("cogvlm_language_model", 50.0)):
        runs.append(Run(name=name, recipe=twin(name), folder=tmp_path / name))
        runs[-1].folder.mkdir()
        told = json.dumps({"text_ability": {"perplexity": perplexity}})
        (runs[-1].folder / "results.json").write_text(told)
    (found,) = held(runs)
    assert found["difference"]["value"] == pytest.approx(math.log(2.5))
    assert (found["seeds"], found["verdict"]) == (1, "not shown")


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
    def line(name: str, mean: float, seeds: int = 3) -> dict[str, Any]:
        return {"overall": {"mean": mean}, "recipes": [twin(name).digest()], "seeds": seeds}

    def claim(better: str, worse: str, verdict: str) -> dict[str, Any]:
        (one,) = (each for each in CLAIMS if (each.better, each.worse) == (better, worse))
        plain = json.loads(json.dumps(asdict(one)))
        return {**plain, "verdict": verdict, "seeds": 3}

    earlier = {
        "systems": {
            **{name: line(name, 0.5) for name in ("prismatic", "llava_1_5", "prismatic_base")},
            BLIND: line(BLIND, 0.2),
            "cogvlm": line("cogvlm", 0.7),
            "cogvlm_ema": {**line("cogvlm_ema", 0.7), "recipes": ["of another length"]},
            "gone": {**line(BLIND, 0.1), "recipes": []},
        },
        "claims": [
            claim("llava_1_5", "prismatic", "kept"),
            claim("cogvlm_ema", "cogvlm", "of a recipe that changed"),
            claim("prismatic", "prismatic_vit", "of a twin that is not there"),
            {**claim("prismatic", "prismatic_base", "said otherwise"), "says": "better"},
        ],
    }
    now = {
        "systems": {
            **{name: line(name, 0.6) for name in ("prismatic_vit", "cogvlm_ema")},
            "prismatic": line("prismatic", 0.55),
            "cogvlm": line("cogvlm", 0.9, seeds=1),
        },
        "claims": [claim("prismatic", "prismatic_vit", "measured now")],
    }
    found = beside(now, earlier)
    means = {name: one["overall"]["mean"] for name, one in found["systems"].items()}
    assert list(means.items()) == [
        *(("cogvlm", 0.7), ("prismatic_vit", 0.6), ("cogvlm_ema", 0.6), ("prismatic", 0.55)),
        *(("llava_1_5", 0.5), ("prismatic_base", 0.5), (BLIND, 0.2)),
    ]
    assert [each["verdict"] for each in found["claims"]] == ["kept", "measured now"]
    assert beside(now, {})["claims"] == now["claims"]


def told(recipe: Recipe) -> Recipe:
    """Returns a recipe with a line of the log for each step, which a speed needs two of."""
    return replace(recipe, stages=tuple(replace(s, log_every=1) for s in recipe.stages))


@pytest.mark.slow
def test_a_small_study_from_twins_to_verdicts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ISTHMUS_CACHE", str(tmp_path / "cache"))
    for name, num in (("NUM_TEST", 100), ("NUM_CLIPS", 20), ("NUM_TEXTS", 10)):
        monkeypatch.setattr(papers, name, num)
    whole = recipes.resolve
    monkeypatch.setattr(papers_claims.recipes, "resolve", lambda name: told(short(whole(name))))
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
    assert table["vadapter"]["steps_to_nearly_all"] > 0
    claims = {claim["by"]: claim for claim in held(runs)}
    assert set(claims) == {"answers", "steps"}
    for claim in claims.values():
        assert (claim["better"], claim["worse"]) == ("vadapter", "vadapter_perceiver")
        assert claim["seeds"] == 2
        assert claim["verdict"] in ("confirmed", "reversed", "not shown")
    json.dumps(table)
