"""The order of samples is a pure function, loses nothing, and saves padding."""

from itertools import pairwise
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from isthmus.data.order import epoch_batches, share


@given(
    lengths=st.lists(st.integers(1, 50), min_size=1, max_size=200),
    batch_size=st.integers(1, 9),
    seed=st.integers(0, 5),
    epoch=st.integers(0, 5),
)
def test_each_sample_once_and_always_the_same(
    lengths: list[int], batch_size: int, seed: int, epoch: int
) -> None:
    batches = epoch_batches(lengths, batch_size=batch_size, seed=seed, epoch=epoch)
    assert batches == epoch_batches(lengths, batch_size=batch_size, seed=seed, epoch=epoch)
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    assert sorted(map(len, batches), reverse=True)[:-1] == [batch_size] * (len(batches) - 1)


def test_seed_and_epoch_change_the_order() -> None:
    lengths = [1] * 100
    orders = {
        str(epoch_batches(lengths, batch_size=4, seed=seed, epoch=epoch))
        for seed in (0, 1)
        for epoch in (0, 1)
    }
    assert len(orders) == 4


def test_samples_of_one_length_share_batches_and_lengths_do_not_ascend() -> None:
    lengths = [Random(i).randint(1, 1000) for i in range(2000)]
    batches = epoch_batches(lengths, batch_size=16, seed=0, epoch=0)
    longest = [max(lengths[i] for i in batch) for batch in batches]
    padded = sum(16 * length for length in longest)
    assert padded < 1.1 * sum(lengths)  # 1.9 in random batches
    rising = sum(a < b for a, b in pairwise(longest))
    assert 0.35 * len(longest) < rising < 0.65 * len(longest)


@given(lengths=st.lists(st.integers(1, 50), min_size=1, max_size=99), seed=st.integers(0, 5))
def test_the_largest_batch_comes_first_of_all(lengths: list[int], seed: int) -> None:
    batches = epoch_batches(lengths, batch_size=4, seed=seed, epoch=0)
    sizes = [len(batch) * max(lengths[i] for i in batch) for batch in batches]
    assert sizes[0] == max(sizes)


@given(batch=st.lists(st.integers(), max_size=40), pieces=st.integers(1, 9))
def test_shares_are_even_and_lose_nothing(batch: list[int], pieces: int) -> None:
    shares = [share(batch, pieces=pieces, piece=piece) for piece in range(pieces)]
    assert [i for part in shares for i in part] == batch
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
