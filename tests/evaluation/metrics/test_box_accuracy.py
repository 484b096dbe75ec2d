import pytest

from isthmus.evaluation.metrics.box_accuracy import box_accuracy

A, B = (0.0, 0.0, 10.0, 10.0), (20.0, 0.0, 30.0, 10.0)
HALF_OF_A = (0.0, 0.0, 5.0, 10.0)
LESS_THAN_HALF = (0.0, 0.0, 4.9, 10.0)


def test_one_box_counts_from_half_the_union() -> None:
    assert box_accuracy([HALF_OF_A], [A]) == 1.0
    assert box_accuracy([LESS_THAN_HALF], [A]) == 0.0
    assert box_accuracy([LESS_THAN_HALF], [A], threshold=0.25) == 1.0


def test_no_box_is_wrong() -> None:
    assert box_accuracy([], [A]) == 0.0


def test_missing_and_surplus_boxes_cost() -> None:
    assert box_accuracy([A], [A, B]) == 0.5
    assert box_accuracy([A, B], [A]) == 0.5
    assert box_accuracy([B, A], [A, B]) == 1.0


def test_one_box_finds_one_partner_only() -> None:
    assert box_accuracy([A, A], [A, B]) == 0.5


def test_boxes_are_paired_so_that_the_most_count() -> None:
    # the wide box fits both true ones, the narrow one fits only the first
    first, second = (0.0, 0.0, 10.0, 10.0), (4.0, 0.0, 14.0, 10.0)
    wide, narrow = (1.0, 0.0, 12.0, 10.0), (0.0, 0.0, 6.0, 10.0)
    assert box_accuracy([wide, narrow], [first, second]) == 1.0


def test_a_sample_without_a_true_box_is_refused() -> None:
    with pytest.raises(ValueError, match="no true box"):
        box_accuracy([A], [])
