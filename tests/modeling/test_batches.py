"""Images anywhere, in any number, with padding on either side: a batch equals its samples."""

import pytest
import torch

from isthmus import IsthmusForConditionalGeneration, IsthmusProcessor
from isthmus.axes import Batch
from isthmus.fusion.inline import MISMATCH
from tests.tiny import tiny_image, tiny_pixels

# Kernels tile a batch differently from a single sample.
BATCH_TOLERANCE = 2e-4

TEXTS = [
    "no image",
    "<image>first",
    "last<image>",
    "in<image>the<image>middle",
    "<image><image><image>",
]
NUM_IMAGES = [text.count("<image>") for text in TEXTS]


def images(count: int, start: int = 0) -> list[object]:
    return [tiny_image(start + i, width=20 + start + i, height=30) for i in range(count)]


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_mixed_batch_equals_its_samples(
    model: IsthmusForConditionalGeneration, processor: IsthmusProcessor, side: str
) -> None:
    processor.tokenizer.padding_side = side
    inputs = processor(
        images=images(sum(NUM_IMAGES)), text=TEXTS, padding=True, return_tensors="pt"
    )
    positions = (inputs["attention_mask"].cumsum(1) - 1).clamp(min=0)
    with torch.no_grad():
        together = model(**inputs, position_ids=positions).logits
    for row, text in enumerate(TEXTS):
        mine = images(NUM_IMAGES[row], start=sum(NUM_IMAGES[:row])) or None
        single = processor(images=mine, text=[text], return_tensors="pt")
        with torch.no_grad():
            alone = model(**single).logits[0]
        real = together[row][inputs["attention_mask"][row].bool()]
        torch.testing.assert_close(real, alone, atol=BATCH_TOLERANCE, rtol=0)


def test_the_order_of_images_matters(
    model: IsthmusForConditionalGeneration, processor: IsthmusProcessor
) -> None:
    first, second = images(2)
    text = ["a<image>b<image>c"]
    with torch.no_grad():
        one = model(**processor(images=[first, second], text=text, return_tensors="pt")).logits
        other = model(**processor(images=[second, first], text=text, return_tensors="pt")).logits
    assert torch.equal(one[:, 0], other[:, 0])
    assert (one[:, 1:] - other[:, 1:]).abs().max() > 0.1


def test_patch_features_equal_the_pixel_path(
    model: IsthmusForConditionalGeneration, processor: IsthmusProcessor
) -> None:
    inputs = processor(images=images(2), text=["a<image>b<image>"], return_tensors="pt")
    pixels = inputs.pop("pixel_values")
    with torch.no_grad():
        kept = model.encode_images(pixels).features
        expected = model(**inputs, pixel_values=pixels).logits
        assert torch.equal(model(**inputs, patch_features=kept).logits, expected)
        # What a store keeps in half precision is taken as it is.
        halved = model(**inputs, patch_features=kept.half()).logits
    torch.testing.assert_close(halved, expected, atol=0.5, rtol=0)


def test_a_batch_is_what_the_model_takes(model: IsthmusForConditionalGeneration) -> None:
    ids = torch.full((1, 18), model.config.image_token_id)
    ids[0, [0, -1]] = 5
    batch = Batch(
        input_ids=ids, attention_mask=torch.ones_like(ids), pixel_values=tiny_pixels(1), ids=("a",)
    )
    assert model(**batch.model_inputs()).logits.shape == (1, 18, 259)


@pytest.mark.parametrize(
    ("placeholders", "given", "tokens", "features"),
    [(16, 2, 16, 32), (15, 1, 15, 16), (16, 0, 16, 0), (0, 1, 0, 16)],
)
def test_a_wrong_number_of_images_is_refused(
    model: IsthmusForConditionalGeneration,
    placeholders: int,
    given: int,
    tokens: int,
    features: int,
) -> None:
    ids = torch.tensor([[5, *[model.config.image_token_id] * placeholders, 6]])
    pixels = tiny_pixels(given) if given else None
    with pytest.raises(ValueError, match=f"{MISMATCH}, tokens: {tokens}, features: {features}"):
        model(input_ids=ids, pixel_values=pixels)


def test_inputs_in_two_forms_are_refused(model: IsthmusForConditionalGeneration) -> None:
    ids = torch.full((1, 16), model.config.image_token_id)
    pixels = tiny_pixels(1)
    kept = model.encode_images(pixels).features.detach()
    embeds = torch.zeros(1, 16, 48)
    with pytest.raises(ValueError, match="pixel_values and patch_features; give one"):
        model(input_ids=ids, pixel_values=pixels, patch_features=kept)
    with pytest.raises(ValueError, match="exactly one"):
        model(input_ids=ids, inputs_embeds=embeds)
    with pytest.raises(ValueError, match="hide where the placeholders are"):
        model(inputs_embeds=embeds, pixel_values=pixels)


def test_embedded_text_alone_is_taken(model: IsthmusForConditionalGeneration) -> None:
    ids = torch.randint(3, 259, (2, 7))
    with torch.no_grad():
        embeds = model.get_input_embeddings()(ids)
        assert torch.equal(model(inputs_embeds=embeds).logits, model(input_ids=ids).logits)
    expected = model(inputs_embeds=embeds, labels=ids).loss
    assert torch.equal(model.train()(inputs_embeds=embeds, labels=ids).loss, expected)
