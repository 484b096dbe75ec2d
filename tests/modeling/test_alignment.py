"""The model that holds images and texts together, as transformers sees it and as it is used."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModel, AutoProcessor

import isthmus
from isthmus import IsthmusAlignmentConfig, IsthmusForAlignment, load, load_alignment
from isthmus.connectors.qformer import QFormer
from isthmus.modeling import alignment
from isthmus.modeling.alignment import Texts
from isthmus.modeling.captioning import write_captions
from isthmus.modeling.loading import kind_of
from isthmus.modeling.modeling_alignment import similarity
from isthmus.modeling.processing_alignment import load_text_tokenizer
from tests.tiny import save_language, tiny_image, tiny_pixels
from tests.tiny_alignment import (
    QFORMER,
    alignment_config,
    alignment_processor,
    pairs_batch,
    text_tokenizer,
    tiny_alignment,
)


def save(folder: Path) -> IsthmusForAlignment:
    model = tiny_alignment()
    model.save_pretrained(folder)
    alignment_processor(model).save_pretrained(folder)
    return model


def test_a_saved_model_comes_back_bit_equal(tmp_path: Path) -> None:
    model = save(tmp_path)
    again, processor = load_alignment(tmp_path)
    weights = again.state_dict()
    assert weights.keys() == model.state_dict().keys()
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    assert kind_of(tmp_path) is IsthmusAlignmentConfig
    inputs = processor(images=[tiny_image(0), tiny_image(1)], text=["a red star", "a circle"])
    with torch.no_grad():
        assert torch.equal(model(**inputs).logits_per_image, again(**inputs).logits_per_image)
    assert isinstance(AutoModel.from_pretrained(tmp_path), IsthmusForAlignment)
    assert isinstance(AutoProcessor.from_pretrained(tmp_path), isthmus.IsthmusAlignmentProcessor)
    with pytest.raises(ValueError, match="holds a 'isthmus_alignment' model; expected a 'isthmus'"):
        load(tmp_path)


def test_it_is_built_on_the_meta_device() -> None:
    with torch.device("meta"):
        model = IsthmusForAlignment(alignment_config())
    assert all(value.is_meta for value in model.state_dict().values())
    real = IsthmusForAlignment(alignment_config())
    assert real.temperature.item() == pytest.approx(0.5)
    assert {n: v.shape for n, v in model.state_dict().items()} == {
        n: v.shape for n, v in real.state_dict().items()
    }


def test_an_image_is_as_near_as_its_nearest_query() -> None:
    model, batch = tiny_alignment(), pairs_batch(4)
    with torch.no_grad():
        out = model(
            input_ids=batch.input_ids,
            attention_mask=batch.attention_mask,
            patch_features=batch.patch_features,
        )
    torch.testing.assert_close(out.image_embeds.norm(dim=-1), torch.ones(4, 3))
    cosines = out.image_embeds @ out.text_embeds.T  # images, queries, texts
    expected = cosines.amax(dim=1) / model.temperature
    torch.testing.assert_close(out.logits_per_image, expected.detach())
    torch.testing.assert_close(out.logits_per_text, expected.T.detach())
    torch.testing.assert_close(similarity(out.image_embeds, out.text_embeds), cosines.amax(dim=1))


def test_pixels_and_features_of_them_are_the_same() -> None:
    model, batch, pixels = tiny_alignment(), pairs_batch(3), tiny_pixels(3)
    given = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask}
    with torch.no_grad():
        seen = model.encode_images(pixels).states
        first = model(**given, pixel_values=pixels).logits_per_image
        second = model(**given, patch_features=seen).logits_per_image
    assert torch.equal(first, second)
    with pytest.raises(ValueError, match="exactly one of them"):
        model(**given)
    with pytest.raises(ValueError, match=r"has 17 vectors .* expected those of 4 x 4 patches"):
        model(**given, patch_features=torch.cat([seen[:, :1], seen], dim=1))


@pytest.mark.parametrize("max_new_tokens", [1, 6])
def test_cached_captions_equal_uncached_ones(max_new_tokens: int) -> None:
    model, batch = tiny_alignment(), pairs_batch(4)
    config = model.config
    assert batch.patch_features is not None
    with torch.no_grad():
        seen = model.see(batch.patch_features)
        written = write_captions(model, seen, max_new_tokens=max_new_tokens)
        _, past = model.queries(seen)
        ids = torch.full((4, 1), config.bos_token_id)
        for _ in range(max_new_tokens):
            texts = Texts(input_ids=ids, attention_mask=torch.ones_like(ids))
            states = alignment.captions(model.qformer, past, texts)
            ids = torch.cat([ids, model.word_logits(states[:, -1]).argmax(-1, keepdim=True)], 1)
    for row, expected in zip(written.tolist(), ids[:, 1:].tolist(), strict=True):
        end = expected.index(config.eos_token_id) + 1 if config.eos_token_id in expected else None
        assert row[: len(expected[:end])] == expected[:end]
        assert set(row[len(expected[:end]) :]) <= {config.pad_token_id}


def test_beams_find_what_greed_does_not_lose_and_samples_are_several() -> None:
    model, batch = tiny_alignment(seed=2), pairs_batch(3)
    assert batch.patch_features is not None
    with torch.no_grad():
        seen = model.see(batch.patch_features)

    def likelihood(written: torch.Tensor) -> torch.Tensor:
        ids = torch.cat([torch.full((3, 1), model.config.bos_token_id), written], dim=1)
        texts = Texts(input_ids=ids, attention_mask=torch.ones_like(ids))
        with torch.no_grad():
            _, past = model.queries(seen)
            logits = model.word_logits(alignment.captions(model.qformer, past, texts))
        told = logits[:, :-1].log_softmax(-1).gather(2, ids[:, 1:, None])
        return told.squeeze(2).sum(dim=1)

    length = {"max_new_tokens": 4, "min_new_tokens": 4}
    greedy = write_captions(model, seen, **length)
    beams = write_captions(model, seen, num_beams=4, **length)
    assert (likelihood(beams) >= likelihood(greedy) - 1e-5).all()
    torch.manual_seed(0)
    drawn = write_captions(model, seen, do_sample=True, num_return_sequences=5, **length)
    assert drawn.shape == (15, 4)
    assert any(len(set(map(tuple, part.tolist()))) > 1 for part in drawn.split(5))


def test_a_caption_longer_than_the_positions_is_cut_by_the_processor() -> None:
    model = tiny_alignment()
    processor = alignment_processor(model)
    long = " ".join(["red"] * 40)
    assert processor.texts([long])["input_ids"].shape == (1, model.config.max_caption_tokens)
    assert processor.num_cut([long, "a red star", long]) == 2
    ids = torch.full((1, 20), 7)
    with pytest.raises(ValueError, match="20 tokens does not fit the 12 positions"):
        alignment.texts(model.qformer, Texts(input_ids=ids, attention_mask=torch.ones_like(ids)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"qformer_config": QFormer.Config().to_dict()}, "no text side"),
        ({"max_caption_tokens": 13}, "max_caption_tokens is 13; expected 2 to 12"),
        ({"bos_token_id": 99}, "bos_token_id is 99, beyond the vocabulary of 15"),
        ({"image_resize": "tiles", "max_tiles": 2}, "a picture is compared as one"),
        ({"temperature": 0.0}, "temperature 0.0; expected 1 or more, and more than 0"),
        ({"d_embedding": 0}, "d_embedding is 0"),
    ],
)
def test_what_does_not_fit_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        alignment_config(**changes)


def test_texts_are_padded_and_cut_on_the_right_however_the_tokenizer_was_saved() -> None:
    tokenizer = text_tokenizer()
    tokenizer.padding_side = tokenizer.truncation_side = "left"
    processor = isthmus.IsthmusAlignmentProcessor.for_model(alignment_config(), tokenizer)
    texts = ["a star", "a red star over a blue circle and a green square"]
    expected = alignment_processor(tiny_alignment()).texts(texts)
    found = processor.texts(texts)
    assert found["input_ids"][0, -1] == 0
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    with pytest.raises(ValueError, match="no texts; expected one or more"):
        processor.texts([])


def test_queries_are_handed_on_as_they_are() -> None:
    assert alignment_config().qformer == replace(QFORMER, project=False)
    with pytest.raises(ValueError, match="without `project` both have to be equal"):
        QFormer.Config(d_hidden=24, num_heads=4, project=False).build(
            d_vision=8, d_text=9, grid=(2, 2)
        )


def test_no_bert_tokenizer_is_an_error_that_names_one(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no tokenizer for the Q-Former's texts"):
        load_text_tokenizer(str(tmp_path))
    folder = save_language(tmp_path / "language")
    with pytest.raises(ValueError, match=r"has no (pad|cls|sep)_token"):
        load_text_tokenizer(folder)


def test_the_mark_before_captions_is_added_where_it_is_not(tmp_path: Path) -> None:
    tokenizer = text_tokenizer()
    tokenizer.bos_token = None
    tokenizer.save_pretrained(tmp_path)
    loaded = load_text_tokenizer(str(tmp_path))
    assert loaded.bos_token == "[DEC]"
    with pytest.raises(ValueError, match="the tokenizer's marks are"):
        isthmus.IsthmusAlignmentProcessor.for_model(
            alignment_config(cls_token_id=1), text_tokenizer()
        )
