"""A step's loss and gradient do not depend on the pieces in which it is computed."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from accelerate import Accelerator
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.data.dataset import ConversationDataset
from isthmus.data.sources import read
from isthmus.objectives.language_modeling import LanguageModeling
from isthmus.training.pieces import pieces_of
from isthmus.training.step import Piece, Trainee, take_step, validate
from tests.tiny import tiny_model
from tests.tiny_data import write_data

Scene = tuple[Trainee, ConversationDataset, Accelerator]


@pytest.fixture(scope="module", params=["llama", "t5"])
def scene(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Scene:
    folder = tmp_path_factory.mktemp("step")
    model, processor = tiny_model(folder, language=request.param, connector="linear")
    file = write_data(folder, 24)
    dataset = ConversationDataset(list(read(file, folder)), processor)
    trainee = Trainee(model, [LanguageModeling.Config(weight=2.0)])
    return trainee, dataset, Accelerator(cpu=True)


def _gradient(scene: Scene, pieces: Sequence[Piece]) -> tuple[torch.Tensor, float, tuple[int, ...]]:
    trainee, _, accelerator = scene
    trainee.zero_grad()
    figures, counts = take_step(trainee, list(pieces), accelerator, torch.float32)
    gradient = torch.cat([p.grad.flatten() for p in trainee.parameters() if p.grad is not None])
    return gradient, figures.losses["language_modeling"].item(), (counts.samples, counts.tokens)


def test_four_pieces_of_four_are_one_batch_of_sixteen(scene: Scene) -> None:
    _, dataset, accelerator = scene
    whole, pieces = (
        _gradient(scene, pieces_of(dataset, range(16), accumulation=n, accelerator=accelerator))
        for n in (1, 4)
    )
    torch.testing.assert_close(whole[0], pieces[0], rtol=1e-4, atol=1e-5)
    assert whole[1] == pytest.approx(pieces[1], rel=1e-5)
    assert whole[2] == pieces[2]
    assert whole[2][0] == 16


@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_any_cut_gives_the_same_gradient(scene: Scene, data: st.DataObject) -> None:
    _, dataset, _ = scene
    batch = data.draw(st.lists(st.integers(0, 23), min_size=2, max_size=9, unique=True))
    cuts = sorted(data.draw(st.sets(st.integers(1, len(batch) - 1), max_size=3)))
    bounds = [0, *cuts, len(batch)]
    pieces = [Piece(dataset.batch(batch[a:b])) for a, b in pairwise(bounds)]
    whole = _gradient(scene, [Piece(dataset.batch(batch))])
    cut = _gradient(scene, pieces)
    torch.testing.assert_close(whole[0], cut[0], rtol=1e-4, atol=1e-5)
    assert whole[1:] == (pytest.approx(cut[1], rel=1e-5), cut[2])


def test_the_loss_is_the_sum_over_tokens_by_their_number(scene: Scene) -> None:
    trainee, dataset, _ = scene
    pieces = [Piece(dataset.batch([index])) for index in (1, 2, 4)]
    sums = [
        (trainee.model(**p.batch.model_inputs(), labels=p.batch.labels).loss.item(), n)
        for p in pieces
        if (n := p.batch.num_supervised)
    ]
    tokens = [n for _, n in sums]
    assert len(set(tokens)) == 3  # else a plain mean would do
    expected = sum(loss * n for loss, n in sums) / sum(tokens)
    assert _gradient(scene, pieces)[1] == pytest.approx(expected, rel=1e-5)


def test_positions_are_counted_where_something_is_read_or_written(scene: Scene) -> None:
    _, dataset, _ = scene
    encoded = [dataset.conversation(index) for index in (0, 1, 2)]
    read = sum(len(each.input_ids) for each in encoded)
    written = sum(len(each.labels) for each in encoded)
    decoded = dataset.processor.is_encoder_decoder
    _, _, counts = _gradient(scene, [Piece(dataset.batch([0, 1])), Piece(dataset.batch([2]))])
    assert counts == (3, read + written * decoded)


def test_a_stand_in_counts_for_nothing(scene: Scene) -> None:
    _, dataset, _ = scene
    real = [Piece(dataset.batch([0, 1]))]
    alone = _gradient(scene, real)
    beside = _gradient(scene, [*real, Piece(replace(dataset.batch([2]), stand_in=True))])
    torch.testing.assert_close(alone[0], beside[0])
    assert alone[1:] == (pytest.approx(beside[1]), beside[2])


def test_the_weight_of_an_objective_scales_the_gradient_not_the_logged_loss(scene: Scene) -> None:
    trainee, dataset, accelerator = scene
    pieces = [Piece(dataset.batch([0, 1]))]
    twice = _gradient(scene, pieces)
    plain = Trainee(trainee.model, [LanguageModeling.Config()])
    once = _gradient((plain, dataset, accelerator), pieces)
    torch.testing.assert_close(twice[0], 2 * once[0])
    assert twice[1] == once[1]


def test_validation_is_the_loss_of_the_whole_set(scene: Scene) -> None:
    trainee, dataset, accelerator = scene
    together = validate(trainee, [Piece(dataset.batch(range(9)))], accelerator, torch.float32)
    apart = validate(
        trainee,
        [Piece(dataset.batch([i])) for i in range(9)]
        + [Piece(replace(dataset.batch([9]), stand_in=True))],
        accelerator,
        torch.float32,
    )
    for ours, theirs in zip(together, apart, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-5)
    losses, metrics = together
    assert losses["language_modeling"] > 1.0
    assert 0 <= metrics["token_accuracy"] < 1
