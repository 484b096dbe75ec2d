"""Samples taken apart into pairs of an image and a caption."""

from pathlib import Path

import pytest
import torch

from isthmus.data.faults import Fault
from isthmus.data.pairs import PairDataset, pair_encoding_of, pairs_of
from isthmus.data.sample import ImagePart, Message, Sample, Text
from tests.tiny import tiny_image
from tests.tiny_alignment import alignment_processor, tiny_alignment


def sample(folder: Path, number: int, *captions: str) -> Sample:
    path = folder / f"{number}.png"
    tiny_image(seed=number).save(path)
    turns = [Message("user", (ImagePart(), Text("Describe it.")))]
    for caption in captions:
        turns += [Message("assistant", (Text(caption),)), Message("user", (Text("Go on."),))]
    return Sample(id=f"s{number}", messages=tuple(turns), images=(path,))


def test_each_answer_is_a_caption(tmp_path: Path) -> None:
    pairs = pairs_of(sample(tmp_path, 0, " a star ", "a ring"))
    assert [(pair.id, pair.caption) for pair in pairs] == [("s0", "a star"), ("s0#2", "a ring")]
    assert {pair.image for pair in pairs} == {tmp_path / "0.png"}


@pytest.mark.parametrize("images", [0, 2])
def test_a_caption_is_of_one_image(images: int, tmp_path: Path) -> None:
    turns = (
        Message("user", (*[ImagePart()] * images, Text("What?"))),
        Message("assistant", (Text("a star"),)),
    )
    several = Sample(id="s", messages=turns, images=(tmp_path / "0.png",) * images)
    with pytest.raises(Fault, match=f"{images} images; a caption belongs to one image"):
        pairs_of(several)


def test_a_batch_knows_which_images_and_texts_are_the_same(tmp_path: Path) -> None:
    processor = alignment_processor(tiny_alignment())
    samples = [sample(tmp_path, 0, "a red star", "a circle"), sample(tmp_path, 1, "A red STAR")]
    dataset = PairDataset(samples, processor)
    assert len(dataset) == 3
    assert dataset.lengths() == [1, 1, 1]
    batch = dataset.batch([0, 2, 1])
    assert batch.ids == ("s0", "s1", "s0#2")
    assert batch.image_ids is not None
    assert batch.text_ids is not None
    assert batch.pixel_values is not None
    assert torch.equal(batch.image_ids == batch.image_ids[0], torch.tensor([True, False, True]))
    assert torch.equal(batch.text_ids == batch.text_ids[0], torch.tensor([True, True, False]))
    assert torch.equal(batch.pixel_values[0], batch.pixel_values[2])
    assert batch.input_ids[0].tolist() == [2, 5, 6, 11, 3]
    assert batch.input_ids[2].tolist() == [2, 5, 10, 3, 0]
    assert batch.attention_mask[2].tolist() == [1, 1, 1, 1, 0]
    again = PairDataset(samples[1:], processor).batch([0])  # numbers do not depend on the batch
    assert again.image_ids is not None
    assert torch.equal(again.image_ids[0], batch.image_ids[1])


def test_what_is_seen_and_read_tells_what_is_the_same(tmp_path: Path) -> None:
    """A copy of a picture has another name, and captions may differ behind the cut alone."""
    processor = alignment_processor(tiny_alignment(max_caption_tokens=5))
    samples = [sample(tmp_path, 0, "a red star"), sample(tmp_path, 1, "a red star over a circle")]
    samples += [sample(tmp_path, 2, "a red circle")]
    (tmp_path / "2.png").write_bytes((tmp_path / "0.png").read_bytes())
    shown = PairDataset(samples, processor).batch([0, 1, 2])
    seen = torch.randn(2, 16, 32)
    kept = PairDataset(samples, processor, features=lambda _: seen[[0, 1, 0]]).batch([0, 1, 2])
    for batch in (shown, kept):
        assert batch.image_ids is not None
        assert (batch.image_ids == batch.image_ids[0]).tolist() == [True, False, True]
        assert batch.text_ids is not None
        assert (batch.text_ids == batch.text_ids[0]).tolist() == [True, True, False]


def test_features_are_looked_up_in_place_of_pixels(tmp_path: Path) -> None:
    processor = alignment_processor(tiny_alignment())
    asked: list[Path] = []

    def features(paths: object) -> torch.Tensor:
        asked.extend(paths)  # type: ignore[call-overload]
        return torch.zeros(2, 16, 32)

    samples = [sample(tmp_path, 0, "a star"), sample(tmp_path, 1, "a ring")]
    batch = PairDataset(samples, processor, features=features).batch([1, 0])
    assert batch.pixel_values is None
    assert asked == [tmp_path / "1.png", tmp_path / "0.png"]


def test_the_encoding_names_what_decides_it() -> None:
    model = tiny_alignment()
    processor = alignment_processor(model)
    shorter = alignment_processor(tiny_alignment(max_caption_tokens=5))
    assert pair_encoding_of(processor) == pair_encoding_of(alignment_processor(model))
    assert pair_encoding_of(processor) != pair_encoding_of(shorter)
