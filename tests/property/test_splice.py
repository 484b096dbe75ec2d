"""The splice puts each visual token in its place, and touches nothing else."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from isthmus.fusion.inline import MISMATCH, embeddable, splice

PLACEHOLDER = 1000
WIDTH = 3


@st.composite
def conversations(draw: st.DrawFn) -> tuple[torch.Tensor, int, int]:
    """Padded rows of text and images, the images and their tokens."""
    tokens = draw(st.integers(1, 4))
    rows = draw(
        st.lists(
            st.lists(st.just("image") | st.integers(1, 9), min_size=1, max_size=8),
            min_size=1,
            max_size=4,
        )
    )
    flat = [
        [i for part in row for i in ([PLACEHOLDER] * tokens if part == "image" else [part])]
        for row in rows
    ]
    longest = max(map(len, flat))
    side = draw(st.booleans())
    padded = [
        [0] * (longest - len(r)) * side + r + [0] * (longest - len(r)) * (not side) for r in flat
    ]
    images = sum(part == "image" for row in rows for part in row)
    return torch.tensor(padded), images, tokens


@given(conversations())
def test_what_is_spliced_in_can_be_taken_out(drawn: tuple[torch.Tensor, int, int]) -> None:
    ids, images, tokens = drawn
    places = ids == PLACEHOLDER
    embeds = -torch.arange(1.0, ids.numel() * WIDTH + 1).reshape(*ids.shape, WIDTH)
    visual = torch.arange(1.0, images * tokens * WIDTH + 1).reshape(images, tokens, WIDTH)
    spliced = splice(embeds, places, visual)
    # In reading order: row by row, left to right.
    assert torch.equal(spliced[places].reshape(visual.shape), visual)
    assert torch.equal(spliced[~places], embeds[~places])


@given(conversations())
def test_gradients_reach_the_visual_tokens_and_the_text_but_no_placeholder(
    drawn: tuple[torch.Tensor, int, int],
) -> None:
    ids, images, tokens = drawn
    places = ids == PLACEHOLDER
    embeds = torch.zeros(*ids.shape, WIDTH, requires_grad=True)
    visual = torch.zeros(images, tokens, WIDTH, requires_grad=True)
    weights = torch.randn(*ids.shape, WIDTH)
    (splice(embeds, places, visual) * weights).sum().backward()
    assert torch.equal(visual.grad, weights[places].reshape(visual.shape))
    assert torch.equal(embeds.grad, weights * ~places[..., None])


@given(conversations(), st.sampled_from([-1, 1]))
def test_one_image_more_or_less_is_refused(
    drawn: tuple[torch.Tensor, int, int], change: int
) -> None:
    ids, images, tokens = drawn
    if images + change < 0:
        return
    embeds = torch.zeros(*ids.shape, WIDTH)
    with pytest.raises(ValueError, match=MISMATCH):
        splice(embeds, ids == PLACEHOLDER, torch.zeros(images + change, tokens, WIDTH))


@given(conversations())
def test_the_placeholder_is_never_looked_up(drawn: tuple[torch.Tensor, int, int]) -> None:
    ids, _, _ = drawn
    places = ids == PLACEHOLDER
    found = embeddable(ids, places)
    assert found.max() < 10
    assert torch.equal(found[~places], ids[~places])


def test_the_words_that_trl_looks_for() -> None:
    assert MISMATCH == "Image features and image tokens do not match"
