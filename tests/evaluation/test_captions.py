"""Captions as answers: each is what it would be alone, and the model is left as it was."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from isthmus.data.sample import ImagePart, Message
from isthmus.evaluation.benchmarks.conversation_file import ConversationFile
from isthmus.evaluation.captions import caption_requests
from isthmus.evaluation.requests import Answer, Choose, Generate, Prompt
from isthmus.evaluation.retrieval import extract_features, match_pairs
from isthmus.evaluation.runner import evaluate
from isthmus.modeling.captioning import write_captions
from isthmus.modeling.modeling_alignment import IsthmusForAlignment
from tests.tiny import tiny_image
from tests.tiny_alignment import (
    LENGTH,
    QFORMER,
    alignment_processor,
    pairs_batch,
    tiny_alignment,
)
from tests.tiny_data import write_data

LIMITS = (2, 8, 3, 8, 100, 2)


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    made = []
    for seed in range(len(LIMITS)):
        made.append(tmp_path / f"{seed}.png")
        tiny_image(seed).save(made[-1])
    return made


def asked(pictures: list[Path]) -> list[Generate]:
    shown = (Message("user", (ImagePart(),)),)
    return [
        Generate(id=f"{n}", prompt=Prompt(messages=shown, images=(path,)), max_new_tokens=limit)
        for n, (path, limit) in enumerate(zip(pictures, LIMITS, strict=True))
    ]


def captions(
    model: IsthmusForAlignment, requests: list[Generate], batch_size: int, **options: Any
) -> dict[str, Answer]:
    given = caption_requests(
        model, alignment_processor(model), requests, batch_size=batch_size, **options
    )
    return {each.id: each for each in given}


@pytest.mark.parametrize("num_beams", [1, 3])
def test_each_caption_is_what_it_would_be_alone(pictures: list[Path], num_beams: int) -> None:
    model, requests = tiny_alignment(seed=3), asked(pictures)
    together = captions(model, requests, len(requests), num_beams=num_beams)
    for request in requests:
        alone = captions(model, [request], 1, num_beams=num_beams)
        assert alone[request.id] == together[request.id]
    assert {each.finished for each in together.values()} == {True, False}
    # None is longer than what was learned, one of the limit than the limit.
    assert len(together["4"].text.split()) < LENGTH
    assert len(together["0"].text.split()) <= 2
    assert not together["0"].finished


def test_beams_write_other_captions_than_greed(pictures: list[Path]) -> None:
    model, requests = tiny_alignment(seed=3), asked(pictures)
    assert captions(model, requests, 4) != captions(model, requests, 4, num_beams=3)
    with pytest.raises(ValueError, match="num_beams is 0; expected 1 or more"):
        captions(model, requests, 4, num_beams=0)
    with pytest.raises(ValueError, match="batch_size is 0; expected 1 or more"):
        captions(model, requests, 0)


def features(model: IsthmusForAlignment, pictures: list[Path]) -> torch.Tensor:
    given = {"images": pictures, "texts": ["a red star"]}
    return extract_features(model, alignment_processor(model), **given).images


def logits(model: IsthmusForAlignment, pictures: list[Path]) -> torch.Tensor:
    given = {"images": pictures, "texts": ["a red star"], "pairs": torch.tensor([[1, 0], [0, 0]])}
    return match_pairs(model, alignment_processor(model), **given)


def written(model: IsthmusForAlignment, pictures: list[Path]) -> dict[str, Answer]:
    return captions(model, asked(pictures), 4)


@pytest.mark.parametrize("run", [features, logits, written])
def test_it_is_measured_without_dropout_and_gradients_and_left_as_it_was(
    run: Callable[[IsthmusForAlignment, list[Path]], Any],
    pictures: list[Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = tiny_alignment(seed=3, qformer_config={**QFORMER.to_dict(), "dropout": 0.5})
    expected = run(model, pictures)
    with_gradients, encode_images = set(), model.encode_images

    def seen(pixels: torch.Tensor) -> Any:
        with_gradients.add(torch.is_grad_enabled())
        return encode_images(pixels)

    monkeypatch.setattr(model, "encode_images", seen)
    model.train()
    model.vision_tower.eval()  # as it is while the rest is trained
    found = run(model, pictures)
    assert torch.equal(found, expected) if isinstance(found, torch.Tensor) else found == expected
    assert with_gradients == {False}
    assert (model.training, model.qformer.training, model.vision_tower.training) == (
        True,
        True,
        False,
    )


def test_what_a_captioner_would_ignore_is_refused(pictures: list[Path], tmp_path: Path) -> None:
    model, file = tiny_alignment(), write_data(tmp_path, 1)
    given = (model, alignment_processor(model), ConversationFile(file, file.parent))
    with pytest.raises(ValueError, match=r"max_new_tokens is 9; the model has learned captions of"):
        evaluate(*given, folder="", max_new_tokens=LENGTH)
    assert evaluate(*given, folder="", max_new_tokens=LENGTH - 1).rows
    with pytest.raises(ValueError, match="leave out blind"):
        evaluate(*given, folder="", blind=True)
    choice = Choose(id="c", prompt=asked(pictures)[0].prompt, choices=("a", "b"))
    with pytest.raises(ValueError, match="'c' is no question about one image"):
        list(caption_requests(*given[:2], [choice], batch_size=1))


@pytest.mark.parametrize("max_new_tokens", [0, 13])
def test_captions_without_positions_are_refused_at_once(max_new_tokens: int) -> None:
    model, batch = tiny_alignment(), pairs_batch(2)
    assert batch.patch_features is not None
    with torch.no_grad():
        seen = model.see(batch.patch_features)
    with pytest.raises(ValueError, match=f"max_new_tokens is {max_new_tokens}; expected 1 to 12"):
        write_captions(model, seen, max_new_tokens=max_new_tokens)
