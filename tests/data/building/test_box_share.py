"""The share of images with two boxes or more: reached, filled, and drawn from seed and id alone."""

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.data.building.box_share import plan_box_share

rows = st.dictionaries(st.text(max_size=4), st.integers(0, 4), max_size=60).map(
    lambda found: list(found.items())
)
shares = st.sampled_from([0.1, 0.5, 0.7, 0.75, 0.9, 1.0])


@settings(max_examples=60, deadline=None)
@given(rows, shares, st.integers(0, 3))
def test_the_share_is_reached_and_no_row_more_would_fit(
    rows: list[tuple[str, int]], share: float, seed: int
) -> None:
    plan = plan_box_share(rows, share=share, seed=seed)
    verdicts = [plan.verdict(name, boxes) for name, boxes in rows]
    assert plan.counts == {v: verdicts.count(v) for v in ("kept", "no_box", "over_share")}
    kept = [boxes for verdict, (_, boxes) in zip(verdicts, rows, strict=True) if verdict == "kept"]
    rich = sum(boxes >= 2 for boxes in kept)
    assert rich == sum(boxes >= 2 for _, boxes in rows)
    assert 0 not in kept
    assert plan.counts["no_box"] == sum(boxes == 0 for _, boxes in rows)
    exact = Fraction(str(share))
    assert rich >= exact * len(kept)
    if plan.counts["over_share"]:
        assert rich < exact * (len(kept) + 1)
    assert plan.share == (rich / len(kept) if kept else None)


def test_three_quarters_of_a_round_number() -> None:
    rows = [(f"rich {n}", 2) for n in range(75)] + [(f"poor {n}", 1) for n in range(100)]
    plan = plan_box_share(rows)
    assert plan.counts == {"kept": 100, "no_box": 0, "over_share": 75}
    assert plan.share == 0.75
    nine = plan_box_share(rows[:27] + rows[75:], share=0.9)
    assert nine.counts["kept"] == 30  # in doubles, 27 * (1 - 0.9) / 0.9 is below 3


@settings(max_examples=60, deadline=None)
@given(rows, st.randoms())
def test_the_order_of_the_rows_does_not_matter(rows: list[tuple[str, int]], random: object) -> None:
    shuffled = list(rows)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert plan_box_share(shuffled, seed=1) == plan_box_share(rows, seed=1)


def test_another_seed_chooses_others() -> None:
    rows = [(str(n), 1 + n % 2) for n in range(100)]
    chosen = []
    for seed in (0, 1):
        plan = plan_box_share(rows, seed=seed)
        chosen.append({name for name, boxes in rows if plan.verdict(name, boxes) == "kept"})
    assert len(chosen[0]) == len(chosen[1]) == 66
    assert chosen[0] != chosen[1]


def test_rows_of_one_id_do_not_break_the_share() -> None:
    rows = [("rich", 2)] * 6 + [("twin", 1)] * 5
    plan = plan_box_share(rows)
    assert plan.counts == {"kept": 6, "no_box": 0, "over_share": 5}


@pytest.mark.parametrize(
    ("given_", "message"),
    [
        ({"share": 0.0}, "share is 0.0"),
        ({"share": 1.5}, "share is 1.5"),
        ({"boxes": 1}, "boxes is"),
    ],
)
def test_what_makes_no_sense_is_refused(given_: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plan_box_share([], **given_)  # type: ignore[arg-type]
