"""The twins of CogVLM-Grounding go on from those of their seed, with pictures and without."""

from pathlib import Path

from benchmarks.grounding import BEFORE, METRICS, grounded
from isthmus import recipes
from isthmus.evaluation.benchmarks.microworld import VARIANTS
from isthmus.study.run import grid


def test_arms_go_on_from_the_run_of_their_seed(tmp_path: Path) -> None:
    twins = {name: recipes.resolve(f"microworld.{name}") for name in BEFORE}
    folders = set()
    for before in grid(twins, (0, 2), tmp_path):
        seeing, blind = grounded(before, tmp_path)
        assert seeing.recipe.start == blind.recipe.start == before.folder
        assert seeing.recipe.seed == blind.recipe.seed == before.recipe.seed
        assert seeing.recipe.model == before.recipe.model
        assert seeing.recipe.stages[-1].train == before.recipe.stages[-1].train
        assert not any(stage.blind for stage in seeing.recipe.stages)
        assert all(stage.blind for stage in blind.recipe.stages)
        folders |= {seeing.folder, blind.folder}
    assert len(folders) == 8


def test_its_metrics_are_those_of_the_microworld() -> None:
    assert set(METRICS) <= set(VARIANTS)
