"""The arms of the study of BLIP-2 differ in what they are named after, and in nothing else."""

from dataclasses import replace
from pathlib import Path

from benchmarks.blip2 import LENGTHS, _generation, _retrieval
from isthmus.objectives.alignment import Alignment


def test_one_arm_has_no_captioning() -> None:
    arms = dict(_retrieval())
    (whole,), (without,) = (arms[name].stages for name in ("all", "without_captioning"))
    (objective,) = whole.objectives
    assert isinstance(objective, Alignment.Config)
    assert objective.captioning is not None
    assert without == replace(whole, objectives=(replace(objective, captioning=None),))


def test_with_and_without_the_first_stage_the_second_is_the_same() -> None:
    arms = dict(_generation(Path("aligned")))
    assert len(arms) == 2 * len(LENGTHS)
    for num in LENGTHS:
        with_first, without = arms[f"with_{num}"], arms[f"without_{num}"]
        (late,), (alone,) = with_first.stages, without.stages
        assert alone == replace(late, hand_over=None)
        assert without == replace(with_first, stages=(alone,), start=None)
