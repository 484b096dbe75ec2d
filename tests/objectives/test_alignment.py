"""Images and texts held together: both schedules, what counts as false, and odd batches."""

import os
import subprocess
import sys
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from isthmus.axes import Batch, Patches
from isthmus.modeling.alignment import Texts
from isthmus.objectives import _processes as processes
from isthmus.objectives._captioning import Captioning
from isthmus.objectives._contrastive import Contrastive, Similarities, compare, contrastive_loss
from isthmus.objectives._matching import Matching, Negatives, draw_negatives, matching_loss
from isthmus.objectives._passes import FalseImages, Packed, Plain
from isthmus.objectives.alignment import Alignment, same_pairs
from isthmus.objectives.base import Outcome
from tests.tiny_alignment import pairs_batch, part_of, tiny_alignment

SIZE = 5
CONTRAST, MATCH, TELL = Contrastive(weight=0.7, gradient=True), Matching(weight=1.3), Captioning()
OBJECTIVES = [each for each in product((CONTRAST, None), (MATCH, None), (TELL, None)) if any(each)]


def config(
    contrastive: Contrastive | None = CONTRAST,
    matching: Matching | None = MATCH,
    captioning: Captioning | None = TELL,
    *,
    packed: bool = True,
) -> Alignment.Config:
    return Alignment.Config(
        contrastive=contrastive, matching=matching, captioning=captioning, packed=packed
    )


def outcome(batch: Batch, settings: Alignment.Config) -> tuple[Outcome, dict[str, Tensor]]:
    """Losses and gradients of a batch, with the same draws whenever it is asked."""
    model = tiny_alignment()
    objective = settings.build(model)
    torch.manual_seed(3)
    found = objective(model, batch)
    sum(found.losses.values(), torch.zeros(())).backward()
    return found, {n: p.grad for n, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize(("contrastive", "matching", "captioning"), OBJECTIVES)
def test_both_schedules_give_equal_losses_and_gradients(
    contrastive: Contrastive | None, matching: Matching | None, captioning: Captioning | None
) -> None:
    batch = pairs_batch(SIZE)
    (packed, ours), (plain, theirs) = (
        outcome(batch, config(contrastive, matching, captioning, packed=packed))
        for packed in (True, False)
    )
    assert packed.losses.keys() == plain.losses.keys()
    for name, loss in plain.losses.items():
        torch.testing.assert_close(packed.losses[name], loss, atol=1e-6, rtol=1e-6)
    nothing = torch.zeros(())  # what one of them computes for nothing, the other may leave out
    for name in ours.keys() | theirs.keys():
        found, expected = ours.get(name, nothing), theirs.get(name, nothing)
        largest = max(1.0, float(expected.abs().max()))
        assert (found - expected).abs().max() <= 1e-5 * largest, name


def test_patches_that_are_padding_change_nothing_in_either_schedule() -> None:
    model, batch = tiny_alignment(), pairs_batch(SIZE)
    texts = Texts(input_ids=batch.input_ids, attention_mask=batch.attention_mask)
    assert batch.patch_features is not None
    wide = torch.cat([batch.patch_features, torch.full((SIZE, 4, 32), 9.0)], dim=1)
    mask = (torch.arange(20) < 16).expand(SIZE, 20)
    for schedule in (Packed, Plain):
        alone = schedule(model, Patches(features=batch.patch_features, grid=(4, 4)), texts)
        among = schedule(model, Patches(features=wide, grid=(5, 4), mask=mask), texts)
        numbers = torch.tensor([1, 2, 3, 4, 0])
        for one, other in (
            (alone.compare(None).queries, among.compare(None).queries),
            tuple(
                each.match(FalseImages(numbers=numbers), texts[numbers]) for each in (alone, among)
            ),
        ):
            torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


def test_who_sees_whom() -> None:
    """Changes one thing at a time, and looks at what it moves."""
    model, batch = tiny_alignment(), pairs_batch(SIZE)
    assert batch.patch_features is not None
    patches = Patches(features=batch.patch_features, grid=(4, 4))
    texts = Texts(input_ids=batch.input_ids, attention_mask=torch.ones_like(batch.input_ids))
    written = texts.begun_by(4)
    for schedule in (Packed, Plain):
        found = schedule(model, patches, texts).compare(written)
        other_ids = texts.input_ids.clone()
        other_ids[:, 5] = 7
        other = Texts(input_ids=other_ids, attention_mask=texts.attention_mask)
        moved = schedule(model, patches, other).compare(other.begun_by(4))
        torch.testing.assert_close(found.queries, moved.queries)  # queries never see a text
        assert not torch.allclose(found.texts[:, 0], moved.texts[:, 0])  # words see all words
        assert found.captions is not None
        assert moved.captions is not None
        torch.testing.assert_close(found.captions[:, :5], moved.captions[:, :5])  # causal
        assert not torch.allclose(found.captions[:, 5:], moved.captions[:, 5:])
        dark = schedule(model, Patches(features=-patches.features, grid=(4, 4)), texts)
        unlit = dark.compare(written)
        torch.testing.assert_close(found.texts, unlit.texts)  # a text alone sees no image
        assert unlit.captions is not None
        assert not torch.allclose(found.captions[:, 0], unlit.captions[:, 0])


def test_targets_are_shared_by_pairs_of_one_image() -> None:
    logits = torch.tensor([[2.0, 1.0, 0.0], [0.5, 1.5, 0.0], [0.0, 0.0, 3.0]])
    same = torch.tensor([[1, 1, 0], [1, 1, 0], [0, 0, 1]]).bool()
    found = contrastive_loss(
        Similarities(image_to_text=logits, text_to_image=logits.T), same, label_smoothing=0.0
    )
    shares = torch.tensor([[0.5, 0.5, 0.0], [0.5, 0.5, 0.0], [0.0, 0.0, 1.0]])
    expected = (cross_entropy(logits, shares) + cross_entropy(logits.T, shares)) / 2
    torch.testing.assert_close(found, expected)
    smooth = contrastive_loss(
        Similarities(image_to_text=logits, text_to_image=logits.T),
        torch.eye(3).bool(),
        label_smoothing=0.1,
    )
    numbers = torch.arange(3)
    expected = (
        cross_entropy(logits, numbers, label_smoothing=0.1)
        + cross_entropy(logits.T, numbers, label_smoothing=0.1)
    ) / 2
    torch.testing.assert_close(smooth, expected)


def test_the_published_contrast_sends_no_gradient_to_the_other_side() -> None:
    """In the direction from image to text the image learns, and nothing else."""
    images = torch.randn(4, 2, 8, requires_grad=True)
    words = torch.randn(4, 8, requires_grad=True)
    for gradient in (False, True):
        found = compare(images, words, torch.tensor(0.5), [4], gradient=gradient)
        given = torch.autograd.grad(
            found.image_to_text.sum(), (images, words), allow_unused=True, retain_graph=True
        )
        assert given[0] is not None
        assert (given[1] is not None) == gradient


def test_no_pair_of_the_same_image_or_text_is_a_negative() -> None:
    batch = replace(
        pairs_batch(6),
        image_ids=torch.tensor([1, 1, 2, 3, 4, 5]),
        text_ids=torch.tensor([1, 2, 3, 4, 4, 5]),
    )
    same = same_pairs(batch, [6])
    expected = torch.eye(6).bool()
    for a, b in ((0, 1), (3, 4)):
        expected[a, b] = expected[b, a] = True
    assert torch.equal(same, expected)
    torch.manual_seed(0)
    logits = torch.zeros(6, 6).masked_fill(same, 50.0)  # the model likes these best of all
    for _ in range(50):
        drawn = draw_negatives(logits, logits, same, chance=True)
        assert not same.gather(1, drawn.images[:, None]).any()
        assert not same.gather(1, drawn.texts[:, None]).any()


def test_negatives_are_drawn_as_often_as_the_model_takes_them_for_true() -> None:
    torch.manual_seed(0)
    logits = torch.tensor([[9.0, 2.0, 1.0, 0.0]]).expand(4000, 4)
    same = torch.tensor([[1, 0, 0, 0]]).bool().expand(4000, 4)
    drawn = draw_negatives(logits, -logits, same, chance=True)
    shares = torch.bincount(drawn.texts, minlength=4) / 4000
    expected = torch.cat([torch.zeros(1), torch.tensor([2.0, 1.0, 0.0]).softmax(0)])
    torch.testing.assert_close(shares, expected, atol=0.03, rtol=0.0)
    assert torch.bincount(drawn.images, minlength=4).argmax() == 3
    hardest = draw_negatives(logits, -logits, same, chance=False)
    assert (hardest.texts == 1).all()
    assert (hardest.images == 3).all()


def test_a_pair_without_a_negative_takes_no_part_in_the_loss_with_one() -> None:
    logits = torch.randn(6, 2)
    none = torch.zeros(2).bool()
    alone = Negatives(images=torch.zeros(2).long(), texts=torch.zeros(2).long(), exist=none)
    loss, right = matching_loss(logits, alone)
    torch.testing.assert_close(loss, cross_entropy(logits[:2], torch.ones(2).long()))
    torch.testing.assert_close(right, (logits[:2].argmax(1) == 1).float().mean())
    half = replace(alone, exist=torch.tensor([True, False]))
    loss, _ = matching_loss(logits, half)
    counted, truth = logits[[0, 1, 2, 4]], torch.tensor([1, 1, 0, 0])
    torch.testing.assert_close(loss, cross_entropy(counted, truth))


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize(
    "batch",
    [
        pairs_batch(1),
        replace(pairs_batch(SIZE), image_ids=torch.full((SIZE,), 7)),
        replace(pairs_batch(SIZE), text_ids=torch.full((SIZE,), 7)),
    ],
    ids=["one pair", "one image", "one text"],
)
def test_batches_without_a_negative_are_learned_from(batch: Batch, packed: bool) -> None:
    found, gradients = outcome(batch, config(packed=packed))
    assert all(loss.isfinite() for loss in found.losses.values())
    assert all(gradient.isfinite().all() for gradient in gradients.values())
    torch.testing.assert_close(  # of a batch that is all the same, each is as true as the other
        found.metrics["contrastive_accuracy"], torch.tensor(1.0)
    )


def test_validation_neither_smooths_nor_draws() -> None:
    batch, model = pairs_batch(SIZE), tiny_alignment()
    objective = config().build(model).eval()
    first, second = (objective(model, batch) for _ in range(2))
    assert all(torch.equal(first.losses[name], second.losses[name]) for name in first.losses)
    smooth = objective.train()(model, batch)
    assert not torch.equal(smooth.losses["captioning"], first.losses["captioning"])


def test_similarities_keep_their_digits_in_half_precision() -> None:
    images, words = torch.randn(4, 2, 8), torch.randn(4, 8)
    with torch.autocast("cpu", torch.bfloat16):
        found = compare(images.bfloat16(), words.bfloat16(), torch.tensor(0.07), [4], gradient=True)
    exact = torch.einsum("iqd,td->itq", images.bfloat16().float(), words.bfloat16().float())
    assert found.image_to_text.dtype is torch.float32
    torch.testing.assert_close(found.image_to_text, exact.amax(dim=-1) / 0.07)


@pytest.mark.parametrize("share", [-0.1, 1.0, 2.0])
def test_a_share_is_a_share(share: float) -> None:
    for settings in (Contrastive, Captioning):
        with pytest.raises(ValueError, match=f"label_smoothing is {share}; expected 0 or more"):
            settings(label_smoothing=share)


def test_nothing_to_learn_is_refused() -> None:
    with pytest.raises(ValueError, match="no contrastive, no matching and no captioning"):
        config(None, None, None)
    weightless = [replace(CONTRAST, weight=0.0), replace(MATCH, weight=0.0)]
    with pytest.raises(ValueError, match="give it a weight"):
        config(*weightless, None)
    found, _ = outcome(pairs_batch(SIZE), config(*weightless))
    assert found.losses.keys() == {"captioning"}
    assert [config(c, m).least_samples for c, m in ((*weightless,), (CONTRAST, None))] == [1, 2]


TWO_PROCESSES = """
import os, sys, torch
from torch import distributed
from isthmus.objectives import _processes as processes
from tests.objectives.test_alignment import config, two_process_losses

rank, folder = int(sys.argv[1]), sys.argv[2]
store = f"file://{folder}/store"
distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=2)
torch.save(two_process_losses(rank), f"{folder}/{rank}.pt")
distributed.destroy_process_group()
"""


def two_process_losses(rank: int) -> dict[str, Tensor]:
    """What each of two processes does, with three and two pairs of one batch."""
    batch = part_of(pairs_batch(SIZE), slice(0, 3) if rank == 0 else slice(3, SIZE))
    told: dict[str, Tensor] = {}
    # The hardest negatives are taken, so that nothing depends on who draws when.
    for packed in (True, False):
        model = tiny_alignment()
        settings = config(matching=replace(MATCH, negatives="all"), packed=packed)
        found = settings.build(model).eval()(model, batch)
        words = int(batch.attention_mask[:, 1:].sum())
        share = {"captioning": words / int(pairs_batch(SIZE).attention_mask[:, 1:].sum())}
        shares = {name: share.get(name, len(batch.input_ids) / SIZE) for name in found.losses}
        sum((loss * shares[n] for n, loss in found.losses.items()), torch.zeros(())).backward()
        name = "packed" if packed else "plain"
        told |= {f"{name} {n}": loss.detach() * shares[n] for n, loss in found.losses.items()}
        gradients = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
        told |= {f"{name} grad {n}": value for n, value in gradients.items()}
    # With a stand-in on one process, the other is as if it were alone.
    batch = pairs_batch(SIZE) if rank == 0 else part_of(pairs_batch(SIZE), slice(1, 2))
    found = settings.build(model).eval()(model, replace(batch, stand_in=rank == 1))
    told |= {f"beside a stand-in {n}": loss.detach() for n, loss in found.losses.items()}
    batch = part_of(pairs_batch(SIZE), slice(0, 3) if rank == 0 else slice(3, SIZE))
    sizes = processes.batch_sizes(len(batch.input_ids), torch.device("cpu"))
    rows = torch.arange(6.0).view(3, 2)[: len(batch.input_ids)] + 10 * rank
    fetched = processes.fetched(rows, torch.tensor([4, 0, 3, 1]), sizes)
    return {**told, "fetched": fetched}


@pytest.mark.slow
def test_two_processes_learn_what_one_does(tmp_path: Path) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    running = [
        subprocess.Popen(
            [sys.executable, "-c", TWO_PROCESSES, str(rank), str(tmp_path)], env=environment
        )
        for rank in range(2)
    ]
    assert [process.wait(timeout=120) for process in running] == [0, 0]
    first, second = (torch.load(tmp_path / f"{r}.pt", weights_only=True) for r in range(2))
    expected = torch.tensor([[12.0, 13.0], [0.0, 1.0], [10.0, 11.0], [2.0, 3.0]])
    assert torch.equal(first.pop("fetched"), expected)
    assert torch.equal(second.pop("fetched"), expected)

    model, batch = tiny_alignment(), pairs_batch(SIZE)
    found = config().build(model).eval()(model, batch)
    sum(found.losses.values(), torch.zeros(())).backward()
    for schedule, (name, loss) in product(("packed", "plain"), found.losses.items()):
        whole = first[f"{schedule} {name}"] + second[f"{schedule} {name}"]
        torch.testing.assert_close(whole, loss.detach(), atol=1e-5, rtol=1e-5)
        alone = first[f"beside a stand-in {name}"]
        torch.testing.assert_close(alone, loss.detach(), atol=1e-5, rtol=1e-5)
        assert second[f"beside a stand-in {name}"].isfinite()
    own = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    # What another process saw of an image is a false image without a gradient to its patches.
    assert {f"packed grad {n}" for n in own} <= first.keys()
    for schedule, (name, gradient) in product(("packed", "plain"), own.items()):
        both = first[f"{schedule} grad {name}"] + second[f"{schedule} grad {name}"]
        largest = max(1.0, float(gradient.abs().max()))
        assert (both - gradient).abs().max() <= 1e-5 * largest, name


def test_the_model_trains_all_of_its_parts() -> None:
    model = tiny_alignment()
    parts = model.parts()
    owned = [id(p) for part in parts.values() for p in part.parameters()]
    assert sorted(owned) == sorted(id(p) for p in model.parameters())
    _, gradients = outcome(pairs_batch(SIZE), config())
    trained = {n for n, _ in model.named_parameters() if not n.startswith("vision_tower")}
    assert set(gradients) == trained
    assert all(isinstance(each, nn.Module) for each in parts["heads"].roots)
