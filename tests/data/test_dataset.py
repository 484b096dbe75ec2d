"""Datasets make batches that a model can read, in order, and name what they cannot use."""

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from isthmus import IsthmusProcessor
from isthmus.axes import IGNORED_LABEL
from isthmus.data.ahead import made_ahead
from isthmus.data.dataset import ConversationDataset
from isthmus.data.sample import ImagePart, Message, Sample, Text
from isthmus.data.sources import read
from isthmus.data.views import read_views
from tests.tiny import save_language, save_vision
from tests.tiny_data import write_data


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    save_vision(folder / "vision")
    save_language(folder / "language")
    write_data(folder, 8)
    return folder


@pytest.fixture(scope="module")
def dataset(folder: Path) -> ConversationDataset:
    processor = IsthmusProcessor.from_towers(
        vision=str(folder / "vision"), language=str(folder / "language"), connector="linear"
    )
    return ConversationDataset(list(read(folder / "messages.jsonl", folder)), processor)


def test_a_batch_pads_on_the_right_and_keeps_images_in_reading_order(
    dataset: ConversationDataset,
) -> None:
    batch = dataset.batch([2, 3, 0])  # two images, none, one
    assert batch.ids == ("row-2", "row-3", "row-0")
    for row, index in enumerate((2, 3, 0)):
        alone = dataset.conversation(index)
        length = len(alone.input_ids)
        assert torch.equal(batch.input_ids[row, :length], alone.input_ids.long())
        assert torch.equal(batch.labels[row, :length], alone.labels.long())
        assert batch.attention_mask[row].sum() == length
        assert (batch.attention_mask[row, length:] == 0).all()
        assert (batch.labels[row, length:] == IGNORED_LABEL).all()
    paths = [*dataset.samples[2].images, *dataset.samples[0].images]
    expected = torch.cat([read_views(path, dataset.processor) for path in paths])
    assert torch.equal(batch.pixel_values, expected)


def test_what_is_shown_at_several_places_is_read_once(
    dataset: ConversationDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert dataset.batch([2, 0]).view_index is None
    first, second = dataset.samples[2], dataset.samples[0]
    still = replace(second, images=second.images[:1] * 3, messages=_showing(second, 3))
    clips = ConversationDataset([first, still, second], dataset.processor)
    read = []
    monkeypatch.setattr(
        "isthmus.data.dataset.read_views",
        lambda path, processor: read.append(path) or read_views(path, processor),
    )
    batch = clips.batch([0, 1, 2])
    shown = [*first.images, *still.images, *second.images]
    assert read == list(dict.fromkeys(shown))
    assert batch.view_index is not None
    expected = torch.cat([read_views(path, dataset.processor) for path in shown])
    assert torch.equal(batch.pixel_values[batch.view_index], expected)
    assert len(batch.pixel_values) == len(read)


def _showing(sample: Sample, num: int) -> tuple[Message, ...]:
    first, *rest = sample.messages
    words = tuple(part for part in first.parts if isinstance(part, Text))
    return (Message(first.role, (*(ImagePart() for _ in range(num)), *words)), *rest)


def test_text_alone_has_no_pixels(dataset: ConversationDataset) -> None:
    assert dataset.batch([3, 7]).pixel_values is None


def test_features_replace_pixels(dataset: ConversationDataset) -> None:
    asked: list[Path] = []

    def features(paths: list[Path]) -> torch.Tensor:
        asked.extend(paths)
        return torch.zeros(len(paths), 16, 4)

    stored = ConversationDataset(dataset.samples, dataset.processor, features=features)
    batch = stored.batch([0, 2])
    assert batch.pixel_values is None
    assert batch.patch_features.shape == (3, 16, 4)
    assert asked == [*dataset.samples[0].images, *dataset.samples[2].images]


def test_batches_come_in_few_lengths_within_the_context(dataset: ConversationDataset) -> None:
    longest = max(len(dataset.conversation(i).input_ids) for i in range(len(dataset)))
    widths = {dataset.batch([i]).input_ids.shape[1] for i in range(len(dataset))}
    assert all(width % 32 == 0 for width in widths)
    for context in (longest, longest + 1, longest + 100):
        narrow = ConversationDataset(dataset.samples, dataset.processor, max_length=context)
        batch = narrow.batch(list(range(len(dataset))))
        assert longest <= batch.input_ids.shape[1] <= context
        assert batch.attention_mask.sum(1).max() == longest
        assert (batch.labels[:, longest:] == IGNORED_LABEL).all()


def test_estimated_lengths_order_samples_as_their_tokens_do(dataset: ConversationDataset) -> None:
    estimated = dataset.lengths()
    tokens = [len(dataset.conversation(i).input_ids) for i in range(len(dataset))]
    assert max(range(8), key=estimated.__getitem__) == max(range(8), key=tokens.__getitem__)
    assert min(range(8), key=estimated.__getitem__) == min(range(8), key=tokens.__getitem__)


def test_a_sample_longer_than_the_context_is_named(dataset: ConversationDataset) -> None:
    short = ConversationDataset(dataset.samples, dataset.processor, max_length=20)
    with pytest.raises(ValueError, match=r"row-2: \d+ tokens, but the language model takes 20"):
        short.conversation(2)


def _cut(content: bytes) -> bytes:
    return content[:60]


def _shortened(content: bytes) -> bytes:
    """Says that fewer bytes of pixels follow, for which Pillow has a SyntaxError."""
    place = content.index(b"IDAT")
    return content[: place - 4] + (16).to_bytes(4) + content[place:]


@pytest.mark.parametrize("damage", [_cut, _shortened])
def test_a_broken_image_is_named(
    dataset: ConversationDataset, tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(damage(dataset.samples[0].images[0].read_bytes()))
    with pytest.raises(ValueError, match=r"broken\.png cannot be read"):
        read_views(broken, dataset.processor)


@pytest.mark.parametrize("num_workers", [0, 1, 3])
def test_made_ahead_keeps_the_order(num_workers: int) -> None:
    assert list(made_ahead(lambda n: n * n, range(20), num_workers)) == [n * n for n in range(20)]


def test_made_ahead_works_ahead_and_hands_errors_on() -> None:
    started = threading.Event()

    def make(number: int) -> int:
        if number == 2:
            started.set()
        if number == 3:
            raise ValueError("three")
        return number

    results = made_ahead(make, range(9), 1)
    assert next(results) == 0
    assert started.wait(timeout=5)
    assert [next(results), next(results)] == [1, 2]
    with pytest.raises(ValueError, match="three"):
        next(results)


def test_made_ahead_stops_when_it_is_left() -> None:
    made: list[int] = []
    results = made_ahead(lambda n: made.append(n), range(1000), 1)
    next(results)
    results.close()
    assert len(made) < 20
    assert not any(thread.name.startswith("isthmus-data") for thread in threading.enumerate())
