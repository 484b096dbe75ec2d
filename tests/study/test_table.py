import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from isthmus.study.run import Run, grid
from isthmus.study.table import markdown, rich_table, student_interval, tabulate, write
from tests.study.test_run import TWO

SCORES = {
    ("plain", 0): [1, 0, 0, 0],
    ("deeper", 0): [1, 1, 0, 0],
    ("plain", 1): [0, 0, 1, 0],
    ("deeper", 1): [1, 1, 1, 1],
}
TASKS = ("colour", "relation", "position", "colour")


def finish(run: Run, scores: list[float], first: int = 0) -> None:
    run.folder.mkdir(parents=True)
    rows = [
        {"id": n, "task": TASKS[n % 4], "vqa": score, "cluster": n // 2, "metrics": ["vqa"]}
        for n, score in enumerate(scores, start=first)
    ]
    rows.append({"id": "caption", "facts": 0.5, "metrics": ["facts"]})
    (run.folder / "samples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (run.folder / "results.json").write_text("{}")
    run.finish()


@pytest.fixture
def runs(tmp_path: Path) -> list[Run]:
    runs = grid(TWO, [0, 1, 2], tmp_path)
    for run in runs:
        if (run.name, run.recipe.seed) in SCORES:
            finish(run, SCORES[run.name, run.recipe.seed])
    return runs


def test_the_numbers_by_hand(runs: list[Run]) -> None:
    table = tabulate(runs, metric="vqa", reference="plain")
    plain, deeper = table.lines
    assert (plain.name, plain.mean, plain.seeds, plain.difference) == ("plain", 0.25, (0, 1), None)
    assert (deeper.name, deeper.mean) == ("deeper", 0.75)
    # seeds differ by 0.25 and 0.75: mean 0.5, standard error 0.25, Student's factor 12.706 at 1
    assert deeper.difference is not None
    assert deeper.difference.value == 0.5
    assert deeper.difference.over_seeds is not None
    assert deeper.difference.over_seeds.low == pytest.approx(0.5 - 12.706 * 0.25, abs=1e-3)
    assert deeper.difference.over_seeds.high == pytest.approx(0.5 + 12.706 * 0.25, abs=1e-3)
    # averaged over seeds the samples differ by .5 1 0 .5, so the two pictures by .75 and .25
    assert deeper.difference.over_samples.low == 0.25
    assert deeper.difference.over_samples.high == 0.75
    assert deeper.over_seeds is not None
    assert deeper.over_seeds.high == pytest.approx(0.75 + 12.706 * 0.25, abs=1e-3)
    # averaged over seeds its samples score 1 1 .5 .5, so the two pictures 1 and .5
    assert (deeper.over_samples.low, deeper.over_samples.high) == (0.5, 1.0)
    assert table.samples == 4


def test_only_the_samples_of_some_tasks(runs: list[Run]) -> None:
    table = tabulate(runs, metric="vqa", reference="plain", tasks=("relation", "position"))
    plain, deeper = table.lines
    assert (table.samples, table.tasks) == (2, ("relation", "position"))
    assert (plain.mean, deeper.mean) == (0.25, 0.75)
    assert deeper.difference is not None
    assert deeper.difference.value == 0.5
    # over seeds, relation scores 1 and position .5
    assert (deeper.over_samples.low, deeper.over_samples.high) == (0.5, 1.0)


def test_only_shared_seeds_are_paired(runs: list[Run]) -> None:
    last = next(each for each in runs if each.name == "deeper" and each.recipe.seed == 2)
    finish(last, [0, 0, 0, 0])
    deeper = tabulate(runs, metric="vqa", reference="plain").lines[1]
    assert deeper.seeds == (0, 1, 2)
    assert deeper.mean == pytest.approx(0.5)
    assert deeper.difference is not None
    assert (deeper.difference.value, deeper.difference.seeds) == (0.5, 2)


def test_one_seed_has_no_interval_over_seeds(runs: list[Run]) -> None:
    deeper = tabulate(runs[:2], metric="vqa", reference="plain").lines[1]
    assert deeper.over_seeds is None
    assert deeper.difference is not None
    assert deeper.difference.over_seeds is None
    assert deeper.difference.value == 0.25


def test_the_table_in_words(runs: list[Run], tmp_path: Path) -> None:
    table = tabulate(runs, metric="vqa", reference="plain")
    text = markdown(table)
    assert text.splitlines() == [
        "| recipe | vqa % | seeds | minus plain | over seeds | over samples |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
        "| plain | 25.0 +- 0.0 | 2 |  |  |  |",
        "| deeper | 75.0 +- 317.7 | 2 | +50.0 | -267.7 to +367.7 | +25.0 to +75.0 |",
    ]
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(rich_table(table))
    drawn = console.export_text()
    assert "+25.0 to +75.0" in drawn
    assert "4 samples" in drawn
    write(table, tmp_path)
    found = json.loads((tmp_path / "table.json").read_text())
    assert found["lines"][1]["difference"]["value"] == 0.5
    assert found["lines"][0]["difference"] is None
    assert json.loads(json.dumps(table.by_recipe())) == {n["name"]: n for n in found["lines"]}
    assert (tmp_path / "table.md").read_text() == text


def test_runs_on_other_samples_are_not_averaged(runs: list[Run]) -> None:
    finish(next(each for each in runs if each.recipe.seed == 2), [0, 0, 0, 0], first=1)
    with pytest.raises(ValueError, match="evaluate all runs on the same data"):
        tabulate(runs, metric="vqa", reference="plain")


def test_the_reference_has_to_be_there(runs: list[Run]) -> None:
    with pytest.raises(ValueError, match=r"'other' has no finished run; finished are \['deeper'"):
        tabulate(runs, metric="vqa", reference="other")


def test_students_interval_of_three_known_values() -> None:
    interval = student_interval([1.0, 2.0, 3.0])
    assert interval is not None
    # standard deviation 1, so 4.3027 / sqrt(3) to either side
    assert interval.low == pytest.approx(2 - 2.4841, abs=1e-4)
    assert interval.high == pytest.approx(2 + 2.4841, abs=1e-4)
    assert student_interval([1.0]) is None
