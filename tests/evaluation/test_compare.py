import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from isthmus.evaluation.compare import compare, compare_rows, paired_p_value, read_rows


def rows(**scores: float) -> dict[str, dict[str, Any]]:
    return {key: {"id": key, "score": value, "metrics": ["m"]} for key, value in scores.items()}


def test_the_difference_of_paired_samples_by_hand() -> None:
    first = rows(a=1, b=1, c=0, d=0, x=1)
    second = rows(d=1, c=0, b=1, a=1, y=0, z=0)
    found = compare_rows(first, second)
    assert (found.count, found.only_first, found.only_second) == (4, 1, 2)
    assert (found.first, found.second, found.difference) == (0.5, 0.75, 0.25)
    assert found.p_value == pytest.approx(stats.ttest_rel([1, 1, 0, 1], [1, 1, 0, 0]).pvalue)
    # by id only d differs; paired in the order of the files there would be losses, too
    assert found.interval.low == 0.0
    assert 0.25 < found.interval.high <= 1


def test_pairing_sees_what_two_separate_intervals_hide() -> None:
    rng = np.random.default_rng(0)
    hard = rng.normal(0.5, 5.0, size=400)
    gain = rng.normal(0.2, 0.5, size=400)
    first = rows(**{f"s{n}": v for n, v in enumerate(hard)})
    second = rows(**{f"s{n}": v for n, v in enumerate(hard + gain)})
    found = compare_rows(first, second)
    half = 1.96 * gain.std() / 20
    assert found.interval.low == pytest.approx(gain.mean() - half, abs=0.15 * half)
    assert found.interval.high == pytest.approx(gain.mean() + half, abs=0.15 * half)
    assert found.p_value < 1e-6


def test_samples_of_one_picture_are_drawn_together() -> None:
    first = rows(**{f"s{n}": 0.0 for n in range(2000)})
    second = rows(**{f"s{n}": float((n // 10) % 2) for n in range(2000)})
    alone = compare_rows(first, second).interval
    for n in range(2000):
        first[f"s{n}"]["cluster"] = f"picture {n // 10}"
    together = compare_rows(first, second).interval
    ratio = (together.high - together.low) / (alone.high - alone.low)
    assert ratio == pytest.approx(np.sqrt(10), rel=0.15)


@pytest.mark.parametrize(
    ("differences", "p_value"), [([0.0, 0.0], 1.0), ([1.0, 1.0], 0.0), ([1.0], 1.0)]
)
def test_differences_without_spread(differences: list[float], p_value: float) -> None:
    assert paired_p_value(np.array(differences)) == p_value


def test_files_are_read_by_id(tmp_path: Path) -> None:
    paths = []
    for name, scores in (("a", (1, 0)), ("b", (1, 1))):
        lines = [{"id": n, "score": 0, "other": s} for n, s in enumerate(scores)]
        lines[0]["text"] = "line\u2028separator"
        paths.append(tmp_path / name)
        paths[-1].write_text(
            "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), "utf-8"
        )
    assert compare(*paths, metric="other").difference == 0.5
    assert compare(*paths).difference == 0.0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"id": 1}\n{"id": 1}\n', "line 2: the id '1' was seen before"),
        ('{"id": 1}\n{"score": 1}\n', "line 2: expected an object with an id"),
        ("{]\n", "line 1: expected an object with an id"),
        ("[1]\n", "line 1: expected an object with an id"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "samples.jsonl"
    file.write_text(text, "utf-8")
    with pytest.raises(ValueError, match=message):
        read_rows(file)


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(ValueError, match="no sample has 'score' in both"):
        compare_rows(rows(a=1), rows(b=1))
    with pytest.raises(ValueError, match=r"no row carries 'n'; expected one of \['score', 'm'\]"):
        compare_rows(rows(a=1), rows(a=1), "n")
