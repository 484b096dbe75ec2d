"""What a stage learns from, step by step: a pure function of the place, which loses nothing."""

from itertools import islice

from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.training.course import Place, Whole
from tests.training.numbers import Numbers


def whole(num: int, batch_size: int, seed: int = 0) -> Whole:
    return Whole(Numbers(num), num_samples=num, batch_size=batch_size, seed=seed)


def due(course: Whole, place: Place, num: int) -> list[tuple[Place, tuple[int, ...]]]:
    return [(each.next, tuple(each.indices)) for each in islice(course.planned(place), num)]


@settings(max_examples=20, deadline=None)
@given(num=st.integers(1, 40), batch_size=st.integers(1, 7), skipped=st.integers(0, 30))
def test_a_course_goes_on_from_any_place(num: int, batch_size: int, skipped: int) -> None:
    steps = due(whole(num, batch_size), (0, 0), 40)
    place = steps[skipped - 1][0] if skipped else (0, 0)
    assert due(whole(num, batch_size), place, 40 - skipped) == steps[skipped:]


def test_an_epoch_has_each_example_once_and_the_next_another_order() -> None:
    course = whole(17, 8)
    assert course.num_steps(2) == 6
    first, second = (
        [index for _, batch in due(course, (epoch, 0), 3) for index in batch] for epoch in (0, 1)
    )
    assert sorted(first) == sorted(second) == list(range(17))
    assert first != second
    assert due(course, (0, 0), 6)[-1][0] == (2, 0)
    assert due(whole(17, 2, seed=1), (0, 0), 9) != due(whole(17, 2), (0, 0), 9)
