"""The loss over supervised rows equals the loss over all, at a fraction of the logits."""

import pytest
import torch
from torch.nn.functional import cross_entropy

from isthmus.language.cross_entropy import next_token_loss

BATCH, SEQ, WIDTH, VOCAB = 3, 11, 8, 20


@pytest.fixture
def head() -> torch.nn.Linear:
    return torch.nn.Linear(WIDTH, VOCAB)


def case(share: float) -> tuple[torch.Tensor, torch.Tensor]:
    hidden = torch.randn(BATCH, SEQ, WIDTH, requires_grad=True)
    labels = torch.randint(VOCAB, (BATCH, SEQ))
    return hidden, labels.masked_fill(torch.rand(BATCH, SEQ) > share, -100)


@pytest.mark.parametrize("chunk_rows", [1, 4, 1000])
@pytest.mark.parametrize("share", [0.3, 1.0])
def test_chunks_change_neither_loss_nor_gradient(
    head: torch.nn.Linear, chunk_rows: int, share: float
) -> None:
    hidden, labels = case(share)
    expected = cross_entropy(head(hidden)[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
    wanted = torch.autograd.grad(expected, [hidden, head.weight])
    loss = next_token_loss(hidden, labels, head, chunk_rows=chunk_rows).loss
    found = torch.autograd.grad(loss, [hidden, head.weight])
    torch.testing.assert_close(loss, expected)
    for ours, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_only_supervised_rows_meet_the_head_and_no_more_than_a_chunk(
    head: torch.nn.Linear,
) -> None:
    hidden, labels = case(0.5)
    sizes: list[int] = []

    def counting(rows: torch.Tensor) -> torch.Tensor:
        sizes.append(len(rows))
        return head(rows)

    next_token_loss(hidden, labels, counting, chunk_rows=4)
    supervised = int((labels[:, 1:] != -100).sum())
    assert sum(sizes) == supervised < BATCH * (SEQ - 1)
    assert max(sizes) == 4


def test_the_sum_is_divided_by_what_is_given(head: torch.nn.Linear) -> None:
    hidden, labels = case(0.5)
    count = int((labels[:, 1:] != -100).sum())
    mean = next_token_loss(hidden, labels, head).loss
    for items in (3, torch.tensor(3)):
        found = next_token_loss(hidden, labels, head, num_items=items).loss
        torch.testing.assert_close(found, mean * count / 3)


def test_no_target_gives_no_loss_and_no_gradient(head: torch.nn.Linear) -> None:
    hidden, labels = case(0.0)
    labels[:, 0] = 1  # nothing stands before a first token
    loss = next_token_loss(hidden, labels, head).loss
    loss.backward()
    assert loss.item() == 0
    assert not hidden.grad.any()


def test_half_precision_is_summed_in_single(head: torch.nn.Linear) -> None:
    hidden, labels = case(1.0)
    loss = next_token_loss(hidden.bfloat16(), labels, head.bfloat16()).loss
    assert loss.dtype == torch.float32
