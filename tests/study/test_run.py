from dataclasses import replace
from pathlib import Path

import pytest

from isthmus.connectors.linear import Linear
from isthmus.study.run import Run, Shard, grid, run
from isthmus.training.data import MicroworldData
from isthmus.training.models import ModelConfig
from isthmus.training.stage import Part, Recipe, Schedule, Stage

RECIPE = Recipe(
    name="tests.study",
    description="never trained",
    model=ModelConfig(vision="v", language="l", connector=Linear.Config()),
    stages=(
        Stage(
            name="one",
            train=(Part(name="connector", lr=1e-3),),
            data=MicroworldData(split="train", num=1),
            schedule=Schedule(batch_size=1, steps=1),
        ),
    ),
)
TWO: dict[str, Recipe] = {
    "plain": RECIPE,
    "deeper": replace(RECIPE, description="deeper"),
}


class Executed:
    """Leaves the files of results and remembers what it was given."""

    def __init__(self, *, fails_at: int | None = None) -> None:
        self.given: list[tuple[str, int]] = []
        self.fails_at = fails_at

    def __call__(self, recipe: Recipe, folder: Path) -> None:
        if len(self.given) == self.fails_at:
            raise KeyboardInterrupt
        self.given.append((recipe.description, recipe.seed))
        for name in ("results.json", "samples.jsonl"):
            (folder / name).write_text("")


def test_the_grid_has_every_recipe_with_every_seed_seed_by_seed(tmp_path: Path) -> None:
    runs = grid(TWO, [3, 5], tmp_path)
    assert [(each.name, each.recipe.seed) for each in runs] == [
        ("plain", 3),
        ("deeper", 3),
        ("plain", 5),
        ("deeper", 5),
    ]
    assert len({each.folder for each in runs}) == 4


def test_finished_runs_are_skipped_and_interrupted_ones_run_again(tmp_path: Path) -> None:
    runs = grid(TWO, [0, 1], tmp_path)
    interrupted = Executed(fails_at=1)
    with pytest.raises(KeyboardInterrupt):
        run(runs, interrupted)
    rest = Executed()
    assert run(runs, rest) == runs[1:]
    assert interrupted.given == [("never trained", 0)]
    assert rest.given == [("deeper", 0), ("never trained", 1), ("deeper", 1)]
    again = Executed()
    assert run(runs, again) == []
    assert again.given == []


def test_a_changed_recipe_is_another_run(tmp_path: Path) -> None:
    run(grid(TWO, [0], tmp_path), Executed())
    changed = {**TWO, "deeper": replace(RECIPE, description="deepest")}
    executed = Executed()
    run(grid(changed, [0, 1], tmp_path), executed)
    assert executed.given == [("deepest", 0), ("never trained", 1), ("deepest", 1)]


def test_a_marker_of_another_recipe_does_not_count(tmp_path: Path) -> None:
    (first, second) = grid(TWO, [0], tmp_path)
    run([first], Executed())
    second.folder.mkdir(parents=True)
    (second.folder / "finished.json").write_text((first.folder / "finished.json").read_text())
    assert first.finished
    assert not second.finished


def test_a_run_without_results_is_not_marked(tmp_path: Path) -> None:
    runs = grid(TWO, [0], tmp_path)
    with pytest.raises(ValueError, match=r"lacks results\.json after the run"):
        run(runs, lambda recipe, folder: None)
    assert not any(each.finished for each in runs)


@pytest.mark.parametrize("num", [1, 2, 3, 7])
def test_shards_share_the_runs_without_gap_or_overlap(tmp_path: Path, num: int) -> None:
    runs = grid(TWO, [0, 1, 2], tmp_path)
    given: list[Run] = []
    for index in range(1, num + 1):
        given.extend(run(runs, Executed(), shard=Shard(index=index, num=num)))
    assert len(given) == len(runs)
    assert {each.folder for each in given} == {each.folder for each in runs}


def test_a_shard_is_written_i_of_n() -> None:
    assert Shard.parse("2/4") == Shard(index=2, num=4)
    for text in ("0/4", "5/4", "2", "2/", "-1/4", "2/4/6"):
        with pytest.raises(ValueError, match="shard"):
            Shard.parse(text)


def test_what_is_no_grid_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"seeds \[1, 1\] repeat"):
        grid(TWO, [1, 1], tmp_path)
    with pytest.raises(ValueError, match="0 seeds"):
        grid(TWO, [], tmp_path)
    with pytest.raises(ValueError, match=r"'\.\./x' is no folder name"):
        grid({"../x": RECIPE}, [0], tmp_path)
