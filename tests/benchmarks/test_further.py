"""The twins that learn boxes or clips go on from those of their seed, with pictures and without."""

from pathlib import Path
from types import ModuleType

import pytest

from benchmarks import clips, grounding
from benchmarks.further import after
from isthmus import recipes
from isthmus.evaluation.benchmarks.microworld import VARIANTS
from isthmus.study.run import grid


@pytest.mark.parametrize(
    ("study", "what"), [(grounding, "grounding"), (clips, "clips")], ids=["grounding", "clips"]
)
def test_arms_go_on_from_the_run_of_their_seed(
    study: ModuleType, what: str, tmp_path: Path
) -> None:
    twins = {name: recipes.resolve(f"microworld.{name}") for name in study.BEFORE}
    folders = set()
    for before in grid(twins, (0, 2), tmp_path):
        seeing, blind = after(before, what, tmp_path)
        assert seeing.recipe.start == blind.recipe.start == before.folder
        assert seeing.recipe.seed == blind.recipe.seed == before.recipe.seed
        assert seeing.recipe.model == before.recipe.model
        parts = [
            {part.name for part in recipe.stages[-1].train}
            for recipe in (seeing.recipe, before.recipe)
        ]
        assert parts[0] == parts[1]
        assert set(seeing.recipe.stages[-1].data.tasks) == set(study.ASKED.tasks)
        assert not any(stage.blind for stage in seeing.recipe.stages)
        assert all(stage.blind for stage in blind.recipe.stages)
        folders |= {seeing.folder, blind.folder}
    assert len(folders) == 8


@pytest.mark.parametrize("study", [grounding, clips], ids=["grounding", "clips"])
def test_its_metrics_are_those_of_the_microworld(study: ModuleType) -> None:
    assert set(study.METRICS) <= set(VARIANTS)
