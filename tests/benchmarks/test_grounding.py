"""The twin of CogVLM-Grounding goes on from the twin of its seed, with pictures and without."""

from pathlib import Path

from benchmarks.grounding import BEFORE, METRICS, grounded
from isthmus import recipes
from isthmus.evaluation.benchmarks.microworld import VARIANTS
from isthmus.study.run import grid


def test_both_arms_go_on_from_the_run_of_their_seed(tmp_path: Path) -> None:
    for before in grid({BEFORE: recipes.resolve(f"microworld.{BEFORE}")}, (0, 2), tmp_path):
        seeing, blind = grounded(before, tmp_path)
        assert seeing.recipe.start == blind.recipe.start == before.folder
        assert seeing.recipe.seed == blind.recipe.seed == before.recipe.seed
        assert not any(stage.blind for stage in seeing.recipe.stages)
        assert all(stage.blind for stage in blind.recipe.stages)
        assert seeing.folder != blind.folder


def test_its_metrics_are_those_of_the_microworld() -> None:
    assert set(METRICS) <= set(VARIANTS)
