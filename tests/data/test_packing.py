"""Samples that share a row: none is lost, rows are full, and each teaches what it taught alone."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from isthmus.axes import IGNORED_LABEL
from isthmus.data.collate import joined
from isthmus.data.conversation import EncodedConversation
from isthmus.data.dataset import ConversationDataset
from isthmus.data.packing import PackedDataset, Packing, plan
from isthmus.data.sample import ImagePart, Message, Sample, Text
from isthmus.data.sources import read
from isthmus.data.video import frame_path
from isthmus.objectives.language_modeling import LanguageModeling
from tests.tiny import tiny_model
from tests.tiny_data import write_data
from tests.tiny_video import clip

FAMILIES = ("llama", "qwen3", "mistral", "gemma2", "opt", "gpt2")
"""Those that find their samples by positions, those that have to be told, and learned positions."""


@given(
    sizes=st.lists(st.tuples(st.integers(1, 60), st.integers(0, 4)), max_size=200),
    max_tokens=st.integers(1, 90),
    max_images=st.none() | st.integers(1, 6),
    seed=st.integers(0, 3),
)
def test_each_sample_is_in_one_row_and_no_row_holds_too_much(
    sizes: list[tuple[int, int]], max_tokens: int, max_images: int | None, seed: int
) -> None:
    lengths, images = [size[0] for size in sizes], [size[1] for size in sizes]
    packing = Packing(max_tokens=max_tokens, max_images=max_images)
    rows = plan(lengths, images, packing, seed=seed)
    assert rows == plan(lengths, images, packing, seed=seed)
    assert sorted(index for row in rows for index in row) == list(range(len(sizes)))
    for row in rows:
        assert len(row) == 1 or sum(lengths[index] for index in row) <= max_tokens
        shown = [images[index] for index in row if images[index]]
        assert max_images is None or len(shown) <= 1 or sum(shown) <= max_images


def test_rows_are_full() -> None:
    chance = Random(0)
    lengths = [chance.choice((chance.randint(5, 40), chance.randint(60, 256))) for _ in range(5000)]
    rows = plan(lengths, [1] * 5000, Packing(max_tokens=256), seed=0)
    assert sum(lengths) > 0.97 * 256 * len(rows)
    assert rows != plan(lengths, [1] * 5000, Packing(max_tokens=256), seed=1)


def test_limits_below_one_are_refused() -> None:
    with pytest.raises(ValueError, match="max_images of a row is 0; expected 1 or more"):
        Packing(max_tokens=8, max_images=0)


def test_the_first_token_of_a_sample_is_no_label() -> None:
    def encoded(*labels: int) -> EncodedConversation:
        return EncodedConversation(torch.tensor(labels).abs(), torch.tensor(labels))

    whole, segments = joined([encoded(1, 2), encoded(3, 4, 5)])
    assert whole.input_ids.tolist() == [1, 2, 3, 4, 5]
    assert whole.labels.tolist() == [IGNORED_LABEL, 2, IGNORED_LABEL, 4, 5]
    assert segments.tolist() == [0, 0, 1, 1, 1]


def gradients(
    dataset: ConversationDataset, rows: Sequence[Sequence[int]], model: torch.nn.Module
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    model.zero_grad()
    objective = LanguageModeling(LanguageModeling.Config(), model)
    loss = objective(model, dataset.batch_of_rows(rows)).losses["language_modeling"]
    loss.backward()
    found = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    return loss.detach(), found


def of_clip(sample: Sample, frames: list[Path]) -> Sample:
    """The sample over some frames in place of its images; over none it is text alone."""
    question = Message("user", (*(ImagePart() for _ in frames), Text("What happens?")))
    return replace(sample, images=tuple(frames), messages=(question, sample.messages[-1]))


@pytest.mark.parametrize(
    ("family", "clips"), [*((family, False) for family in FAMILIES), ("llama", True)]
)
def test_a_packed_row_teaches_what_its_samples_teach(
    family: str, clips: bool, tmp_path: Path
) -> None:
    """Losses and gradients, of samples with no, one and two images, or with clips, two a still."""
    model, processor = tiny_model(tmp_path, language=family, connector="linear")
    model.eval()
    file = write_data(tmp_path / "data", 6)
    samples = list(read(file, file.parent))
    if clips:
        (tmp_path / "a.mp4").write_bytes(clip("mp4"))
        moving = [frame_path(tmp_path / "a.mp4", n) for n in (0, 12, 35)]
        shown = {0: moving, 2: [samples[1].images[0]] * 3, 3: moving[::-1], 5: [moving[1]] * 3}
        samples = [of_clip(each, shown.get(n, [])) for n, each in enumerate(samples)]
    dataset = ConversationDataset(samples, processor)
    if clips:  # four of the twelve are different
        batch = dataset.batch_of_rows([[0, 2, 3], [1, 5], [4]])
        assert batch.pixel_values is not None
        assert len(batch.pixel_values) == 4
        assert batch.view_index is not None
        assert batch.view_index.tolist() == [0, 1, 2, 3, 3, 3, 2, 1, 0, 1, 1, 1]
    apart, expected = gradients(dataset, [[n] for n in range(6)], model)
    together, found = gradients(dataset, [[0, 2, 3], [1, 5], [4]], model)
    torch.testing.assert_close(together, apart, atol=1e-5, rtol=0)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, atol=1e-5, rtol=1e-3)
    # One sample's loss does not depend on what it shares its row with.
    alone, _ = gradients(dataset, [[3]], model)
    with_others = dataset.batch_of_rows([[2, 3, 1]])
    labels = with_others.labels.masked_fill(with_others.segments != 1, IGNORED_LABEL)
    objective = LanguageModeling(LanguageModeling.Config(), model)
    outcome = objective(model, replace(with_others, labels=labels))
    torch.testing.assert_close(
        outcome.losses["language_modeling"].detach(), alone, atol=1e-5, rtol=0
    )


def test_a_dataset_of_rows(tmp_path: Path) -> None:
    _, processor = tiny_model(tmp_path, connector="linear")
    file = write_data(tmp_path / "data", 12)
    dataset = ConversationDataset(list(read(file, file.parent)), processor)
    longest = max(dataset.token_lengths())
    packed = PackedDataset(dataset, Packing(max_tokens=2 * longest, max_images=3))
    assert len(packed) < 12
    assert sum(packed.lengths()) == sum(dataset.token_lengths())
    assert max(packed.lengths()) <= 2 * longest
    batch = packed.batch(range(len(packed)))
    assert sorted(batch.ids) == sorted(sample.id for sample in dataset.samples)
    assert batch.num_samples == 12
    assert batch.attention_mask.sum() == sum(packed.lengths())
    assert batch.num_supervised == dataset.batch(range(12)).num_supervised
    assert all(sum(dataset.num_images()[i] for i in row) <= 3 for row in packed.rows)


def test_a_model_with_an_encoder_is_refused(tmp_path: Path) -> None:
    _, processor = tiny_model(tmp_path, language="t5", connector="linear")
    file = write_data(tmp_path / "data", 2)
    dataset = ConversationDataset(list(read(file, file.parent)), processor)
    with pytest.raises(ValueError, match="this one reads with an encoder; set pack_tokens to None"):
        PackedDataset(dataset, Packing(max_tokens=64))
