"""Twins that learn boxes, clips or styles go on from those of their seed, or see nothing."""

from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from benchmarks import clips, events, grounding, styles
from benchmarks.further import after, is_blind
from isthmus import recipes
from isthmus.evaluation.benchmarks.microworld import VARIANTS
from isthmus.study.run import grid
from isthmus.training.stage import Recipe

STUDIES = {"grounding": grounding, "clips": clips, "chat": styles}
ADDED = {"chat": ["language_model"]}
"""What learns beside the parts that learned before."""


@pytest.mark.parametrize(("what", "study"), STUDIES.items(), ids=STUDIES)
def test_arms_go_on_from_the_run_of_their_seed(
    what: str, study: ModuleType, tmp_path: Path
) -> None:
    twins = {name: recipes.resolve(f"microworld.{name}") for name in study.BEFORE}
    folders = set()
    for before in grid(twins, (0, 2), tmp_path):
        seeing, blind = after(before, what, tmp_path)
        assert seeing.recipe.start == blind.recipe.start == before.folder
        assert seeing.recipe.seed == blind.recipe.seed == before.recipe.seed
        as_before = {"chat_template": before.recipe.model.chat_template}
        assert replace(seeing.recipe.model, **as_before) == before.recipe.model
        assert parts(seeing.recipe) == [*parts(before.recipe), *ADDED.get(what, [])]
        assert set(seeing.recipe.stages[-1].data.tasks) == set(study.ASKED.tasks)
        assert not any(stage.blind for stage in seeing.recipe.stages)
        assert all(stage.blind for stage in blind.recipe.stages)
        folders |= {seeing.folder, blind.folder}
    assert len(folders) == 4 * len(study.BEFORE)


@pytest.mark.parametrize(("what", "task"), events.KINDS.items(), ids=events.KINDS)
def test_what_happens_is_learned_after_clips(what: str, task: str, tmp_path: Path) -> None:
    twins = {name: recipes.resolve(f"microworld.{name}") for name in events.BEFORE}
    (first,) = grid(twins, (1,), tmp_path)
    of_clips, _ = after(first, "clips", tmp_path)
    seeing, blind = after(of_clips, what, tmp_path)
    assert seeing.recipe.start == blind.recipe.start == of_clips.folder
    assert seeing.recipe.model == of_clips.recipe.model
    assert parts(seeing.recipe) == parts(of_clips.recipe)
    assert [is_blind(each) for each in (of_clips, seeing, blind)] == [False, False, True]
    assert seeing.recipe.stages[-1].data.tasks == events.asked(task).tasks
    assert f"accuracy_{task}" in VARIANTS


def parts(recipe: Recipe) -> list[str]:
    return [part.name for part in recipe.stages[-1].train]


def test_boxes_are_learned_at_the_rates_of_the_answers_before(tmp_path: Path) -> None:
    twins = {name: recipes.resolve(f"microworld.{name}") for name in grounding.BEFORE}
    for before in grid(twins, (0,), tmp_path):
        seeing, _ = after(before, "grounding", tmp_path)
        assert seeing.recipe.stages[-1].train == before.recipe.stages[-1].train


@pytest.mark.parametrize("study", STUDIES.values(), ids=STUDIES)
def test_its_metrics_are_those_of_the_microworld(study: ModuleType) -> None:
    assert set(study.METRICS) <= set(VARIANTS)
