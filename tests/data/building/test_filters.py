"""Filters: each row passes all or is counted once, and nothing passes by accident."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.config import Config
from isthmus.data.building.filters import (
    COYO,
    LAION,
    AnyFilter,
    Aspect,
    FirstOfText,
    OneOf,
    Side,
    Sieve,
    Within,
    Words,
)

GOOD: dict[str, Any] = {
    "id": 7,
    "text": "a dog in a field",
    "width": 300,
    "height": 400,
    "clip_similarity_vitb32": 0.31,
    "watermark_score": 0.1,
    "nsfw_score_opennsfw2": 0.001,
}
LAION_ROW: dict[str, Any] = {
    "TEXT": "a dog in a field",
    "WIDTH": 300,
    "HEIGHT": 400,
    "NSFW": "UNLIKELY",
    "similarity": 0.3,
}


def sift(rows: list[dict[str, Any]], *filters: AnyFilter) -> tuple[list[int], dict[str, int]]:
    sieve = Sieve(filters)
    passed = [number for number, _ in sieve.passing(rows)]
    assert sieve.seen == len(rows) == len(passed) + sum(sieve.filtered.values())
    return passed, sieve.filtered


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"clip_similarity_vitb32": 0.2999}, "clip_similarity_vitb32"),
        ({"clip_similarity_vitb32": None}, "clip_similarity_vitb32"),
        ({"clip_similarity_vitb32": float("nan")}, "clip_similarity_vitb32"),
        ({"width": 199, "height": 199}, "side"),
        ({"height": None}, "side"),
        ({"width": 200, "height": 1201}, "aspect"),
        ({"width": 1201, "height": 200}, "aspect"),
        ({"text": "a  dog "}, "words"),
        ({"text": None}, "words"),
        ({"watermark_score": 0.51}, "watermark_score"),
        ({"nsfw_score_opennsfw2": 0.9}, "nsfw_score_opennsfw2"),
        ({"text": "A dog  in a Field"}, "duplicate"),
    ],
)
def test_each_filter_of_a_preset_counts_what_it_stops(change: dict[str, Any], reason: str) -> None:
    passed, filtered = sift([GOOD, {**GOOD, **change}], *COYO)
    assert passed == [1]
    assert {name: count for name, count in filtered.items() if count} == {reason: 1}


def test_bounds_are_included() -> None:
    edge = {
        **GOOD,
        "clip_similarity_vitb32": 0.3,
        "width": 1200,
        "height": 200,
        "text": "a dog runs",
    }
    assert sift([edge], *COYO)[0] == [1]


def test_marks_are_looked_up() -> None:
    unsure = {**LAION_ROW, "NSFW": "UNSURE", "TEXT": "another dog in a field"}
    passed, filtered = sift([LAION_ROW, unsure, {**unsure, "NSFW": None}], *LAION)
    assert (passed, filtered["NSFW"]) == ([1], 2)


def test_the_first_filter_that_objects_counts_and_later_ones_do_not_see_the_row() -> None:
    rows = [{"text": "a dog", "score": score} for score in (0.1, 0.9, 0.9)]
    first, second = Within(column="score", least=0.5), FirstOfText(column="text")
    assert sift(rows, first, second) == ([2], {"score": 1, "duplicate": 1})
    assert sift(rows, second, first) == ([], {"duplicate": 2, "score": 1})


@pytest.mark.parametrize("which", [COYO, LAION])
@pytest.mark.parametrize("place", range(6))
def test_a_missing_column_is_an_error_that_names_it(
    which: tuple[AnyFilter, ...], place: int
) -> None:
    row = dict(GOOD if which is COYO else LAION_ROW)
    names = [value for value in which[place].to_dict().values() if value in list(row)]
    for name in names:
        poorer = {key: value for key, value in row.items() if key != name}
        with pytest.raises(ValueError, match=f"no column '{name}'; it has "):
            sift([row, poorer], which[place])
    assert names


@pytest.mark.parametrize(
    ("filter_", "value"),
    [
        (Within(column="x", least=0), "high"),
        (Side(least=1, width="x", height="x"), []),
        (Aspect(most=2, width="x", height="x"), "wide"),
        (Words(column="x"), 3),
        (FirstOfText(column="x"), ["a"]),
    ],
)
def test_another_type_is_an_error_that_names_the_column(filter_: AnyFilter, value: Any) -> None:
    with pytest.raises(ValueError, match="the column 'x' holds"):
        sift([{"x": value}], filter_)


def test_a_test_begins_anew_each_time() -> None:
    once = FirstOfText(column="text")
    assert sift([GOOD], once)[0] == sift([GOOD], once)[0] == [1]


def test_filters_that_cannot_be_told_apart_are_refused() -> None:
    with pytest.raises(ValueError, match="two filters count under 'words'"):
        Sieve([Words(column="text"), Words(column="title")])


@pytest.mark.parametrize("bounds", [{}, {"least": 2, "most": 1}])
def test_bounds_that_make_no_sense_are_refused(bounds: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"^score: "):
        Within(column="score", **bounds)


@dataclass(frozen=True, kw_only=True)
class Holder(Config):
    filters: tuple[AnyFilter, ...]


@pytest.mark.parametrize("which", [COYO, LAION, (OneOf(column="a", values=("b", "c")),)])
def test_filters_are_data(which: tuple[AnyFilter, ...]) -> None:
    assert Holder.from_dict(Holder(filters=which).to_dict()) == Holder(filters=which)


values = st.one_of(st.none(), st.floats(0, 1))
made = st.fixed_dictionaries({"score": values, "text": st.sampled_from(["a", "b c", "d e f", " "])})


@settings(max_examples=30, deadline=None)
@given(st.lists(made))
def test_seen_is_kept_and_filtered(rows: list[dict[str, Any]]) -> None:
    filters = (
        Within(column="score", least=0.5),
        Words(column="text", least=2),
        FirstOfText(column="text"),
    )
    passed, filtered = sift(rows, *filters)
    sure = [row for row in rows if row["score"] is not None and row["score"] >= 0.5]
    wordy = [row["text"] for row in sure if len(row["text"].split()) >= 2]
    assert filtered == {
        "score": len(rows) - len(sure),
        "words": len(sure) - len(wordy),
        "duplicate": len(wordy) - len(Counter(wordy)),
    }
    assert len(passed) == len(Counter(wordy))
