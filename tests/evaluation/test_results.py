import json
from pathlib import Path
from typing import Any

import pytest

from isthmus.evaluation.intervals import Interval
from isthmus.evaluation.results import Cost, Provenance, Result, write
from isthmus.evaluation.scores import SampleRow, Score, mean_scores


def row(key: str, value: float, **changes: Any) -> SampleRow:
    return SampleRow(
        id=key,
        task="colour",
        question="What colour?",
        target="red",
        prediction="Rot\u2028",
        scores={"accuracy": float(value), "accuracy_colour": float(value)},
        **changes,
    )


def result(*rows: SampleRow) -> Result:
    return Result(
        benchmark="toy",
        headline="accuracy",
        metrics=mean_scores(rows, {"accuracy": "exact", "accuracy_colour": "exact"}),
        rows=rows,
        provenance=Provenance(
            model="m", recipe="abc", training_seed=3, data="d", towers={"vision_tower": "v"}
        ),
        cost=Cost(seconds=2.0, samples_per_second=1.5, peak_memory_gb=0.5),
        texts_cut=3,
    )


def test_means_intervals_counts_and_parse_failures() -> None:
    rows = [row("a", 1), row("b", 0, parsed=False), row("c", 1), row("d", 1)]
    score = mean_scores(rows, {"absent": "", "accuracy": "exact"})
    assert list(score) == ["accuracy"]
    assert score["accuracy"].value == 0.75
    assert score["accuracy"].count == 4
    assert score["accuracy"].parse_failure_rate == 0.25
    assert score["accuracy"].interval.low < 0.75 < score["accuracy"].interval.high


def test_rows_of_one_cluster_widen_the_interval() -> None:
    apart = mean_scores([row(f"{n}", n % 2) for n in range(100)], {"accuracy": ""})["accuracy"]
    joined = [row(f"{n}", (n // 4) % 2, cluster=f"{n // 4}") for n in range(100)]
    together = mean_scores(joined, {"accuracy": ""})["accuracy"]
    ratio = (together.interval.high - together.interval.low) / (
        apart.interval.high - apart.interval.low
    )
    assert ratio == pytest.approx(2.0, rel=0.2)


def test_the_files_carry_plain_keys_and_those_of_lmms_eval(tmp_path: Path) -> None:
    made = result(row("a", 1, cluster="/home/me/x.png"), row("b", 0, finished=False))
    write(made, tmp_path / "new")
    found = json.loads((tmp_path / "new" / "results.json").read_text("utf-8"))
    assert found["accuracy"] == 0.5
    assert found["accuracy_interval"] == [0.0, 1.0]
    assert found["results"]["toy"]["accuracy,none"] == 0.5
    assert found["results"]["toy"]["accuracy_stderr,none"] == pytest.approx(1 / 3.92)
    assert found["n-samples"]["toy"] == {"original": 2, "effective": 2}
    assert found["provenance"] == {
        "model": "m",
        "recipe": "abc",
        "training_seed": 3,
        "seed": 0,
        "data": "d",
        "towers": {"vision_tower": "v"},
        "blind": False,
        "num_beams": 1,
        "style": None,
    }
    assert found["metrics"]["accuracy"]["variant"] == "exact"
    assert (found["answers_cut"], found["texts_cut"]) == (1, 3)
    text = (tmp_path / "new" / "samples.jsonl").read_text("utf-8")
    assert "/home/me" not in text
    first, second = (json.loads(line) for line in text.rstrip("\n").split("\n"))
    assert (first["id"], first["prediction"], first["target"]) == ("a", "Rot\u2028", "red")
    assert (first["doc_id"], second["doc_id"]) == (0, 1)
    assert first["filtered_resps"] == ["Rot\u2028"]
    assert (first["finished"], second["finished"]) == (True, False)
    assert (first["score"], first["accuracy_colour"], second["score"]) == (1, 1, 0)
    assert first["doc_hash"] == second["doc_hash"]


def test_baselines_stand_beside_under_their_own_names() -> None:
    blind = Score(value=0.1, interval=Interval(low=0.0, high=0.2), count=5, variant="exact")
    made = result(row("a", 1)).beside("blind", {"accuracy": blind})
    flat = made.flat()
    assert (flat["accuracy"], flat["accuracy_blind"]) == (1.0, 0.1)
    assert flat["accuracy_blind_interval"] == [0.0, 0.2]
    with pytest.raises(ValueError, match="'blind' is already there"):
        made.beside("blind", {})
