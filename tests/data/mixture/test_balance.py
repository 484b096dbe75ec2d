"""Shares are what the rule says, to the letter, and text-only data keeps its own."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.data.mixture.balance import HONEYBEE, Balance, Weighed, shares

SETS = (
    Weighed(name="gqa", size=1_000_000, task="vqa"),
    Weighed(name="vsr", size=8_000, task="vqa"),
    Weighed(name="coco", size=500_000, task="caption"),
    Weighed(name="sharegpt", size=40_000, task="text", text_only=True),
)


def test_per_dataset_all_are_alike() -> None:
    assert shares(SETS, Balance(rule="per_dataset")) == [0.25] * 4


def test_per_task_tasks_are_alike() -> None:
    found = shares(SETS, Balance(rule="per_task"))
    assert found == pytest.approx([1 / 6, 1 / 6, 1 / 3, 1 / 3])


def test_per_sample_large_sets_are_capped() -> None:
    assert shares(SETS, Balance()) == pytest.approx([100 / 248, 8 / 248, 100 / 248, 40 / 248])
    whole = shares(SETS, Balance(cap=None))
    assert whole == pytest.approx([1000 / 1548, 8 / 1548, 500 / 1548, 40 / 1548])


def test_a_temperature_lifts_small_sets() -> None:
    found = shares(SETS[:2], Balance(cap=None, temperature=2.0))
    assert found[0] / found[1] == pytest.approx(125**0.5)


def test_honeybees_weights_are_known_by_name() -> None:
    names = [*HONEYBEE, "mine"]
    sets = [Weighed(name=n, size=9, task="", weight=0.5 if n == "mine" else None) for n in names]
    found = dict(zip(names, shares(sets, Balance(rule="tuned")), strict=True))
    assert found["gqa"] == pytest.approx(0.103 / 1.503)
    assert found["mine"] == pytest.approx(0.5 / 1.503)
    assert len(HONEYBEE) == 13
    with pytest.raises(ValueError, match=r"'coco' has the weight None; .* \(known by name: vqav2"):
        shares(SETS, Balance(rule="tuned"))


@given(share=st.floats(0, 1), rule=st.sampled_from(("per_dataset", "per_task", "per_sample")))
def test_text_keeps_its_share_and_the_rest_their_proportions(share: float, rule: str) -> None:
    free = shares(SETS, Balance.from_dict({"rule": rule}))
    held = shares(SETS, Balance.from_dict({"rule": rule, "text_only_share": share}))
    assert sum(held) == pytest.approx(1)
    assert held[3] == pytest.approx(share)
    for one in held[:3]:
        assert one * (1 - free[3]) == pytest.approx(free[held.index(one)] * (1 - share))


def test_a_share_of_what_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match=r"text_only_share is 0.1, but .* none shows no image"):
        shares(SETS[:3], Balance(text_only_share=0.1))


def test_a_weight_that_would_be_ignored_is_refused() -> None:
    one = Weighed(name="a", size=1, task="", weight=1.0)
    with pytest.raises(ValueError, match=r"'a' has the weight 1.0, which the rule 'per_sample'"):
        shares([one], Balance())
