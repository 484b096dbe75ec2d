"""The arms of the studies of BLIP-2 differ in what they are named after, and in nothing else."""

from dataclasses import replace
from pathlib import Path

from benchmarks.blip2 import (
    LENGTHS,
    descendants,
    generation,
    languages,
    retrieval,
    runs_of,
    tuning,
)
from isthmus import recipes
from isthmus.objectives.alignment import Alignment
from isthmus.training.models import ModelConfig

ALIGNED = Path("aligned")


def test_one_arm_has_no_captioning() -> None:
    arms = retrieval()
    (whole,), (without,) = (arms[name].stages for name in ("all", "without_captioning"))
    (objective,) = whole.objectives
    assert isinstance(objective, Alignment.Config)
    assert objective.captioning is not None
    assert without == replace(whole, objectives=(replace(objective, captioning=None),))


def test_with_and_without_the_first_stage_the_second_is_the_same() -> None:
    arms = generation(ALIGNED)
    assert len(arms) == 2 * len(LENGTHS) + 1
    assert all(stage.blind for stage in arms["blind"].stages)
    for num in LENGTHS:
        with_first, without = arms[f"with_{num}"], arms[f"without_{num}"]
        (late,), (alone,) = with_first.stages, without.stages
        assert alone == replace(late, hand_over=None)
        assert without == replace(with_first, stages=(alone,), start=None)


def test_two_language_models_learn_from_the_same_questions() -> None:
    arms = languages(ALIGNED)
    assert arms["causal"] == generation(ALIGNED)[f"with_{LENGTHS[-1]}"]
    (causal,), (t5,) = (arms[name].stages for name in ("causal", "t5"))
    assert causal == replace(t5, schedule=causal.schedule)
    models = [arms[name].model for name in ("causal", "t5")]
    assert all(isinstance(model, ModelConfig) for model in models)
    assert models[0] == replace(models[1], language="microworld:lm_chat")
    assert all(stage.blind for stage in arms["blind_t5"].stages)


def test_what_comes_later_is_the_end_of_its_recipe() -> None:
    for name, arm in descendants(ALIGNED).items():
        whole = recipes.resolve(f"microworld.blip2_{name.removeprefix('blind_')}")
        if name.startswith("blind_"):
            assert arm == whole.blind()
        else:
            assert arm == replace(whole, stages=whole.stages[-1:], start=ALIGNED)


def test_before_tuning_nothing_has_changed() -> None:
    arms = tuning(ALIGNED)
    (idle,) = arms["before"].stages
    assert {part.lr for part in idle.train} == {0.0}
    assert {arm.start for arm in arms.values()} == {ALIGNED}


def test_each_seed_goes_on_from_its_own_runs(tmp_path: Path) -> None:
    first = {run.recipe.seed: run for run in runs_of("retrieval", (0, 1), tmp_path)[::2]}
    for study in ("generation", "languages", "descendants"):
        for run in runs_of(study, (0, 1), tmp_path):
            has_none = run.name.startswith(("without", "blind"))
            start = None if has_none else first[run.recipe.seed].folder
            assert run.recipe.start == start
