"""The processor: bytes and placeholders, typed parts, any template."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from isthmus import IsthmusForConditionalGeneration, IsthmusProcessor
from isthmus.language.tokenizer import load_tokenizer
from tests.tiny import IMAGE_SIZE, save_language, tiny_image, tiny_tokenizer

QUESTION = {
    "role": "user",
    "content": [{"type": "image"}, {"type": "text", "text": "What colour?"}],
}
ANSWER = {"role": "assistant", "content": [{"type": "text", "text": "red"}]}


def with_image(image: Any) -> dict[str, Any]:
    return {**QUESTION, "content": [{"type": "image", "image": image}, QUESTION["content"][1]]}


def test_an_image_costs_as_many_placeholders_as_visual_tokens(
    processor: IsthmusProcessor,
) -> None:
    inputs = processor(images=[tiny_image()], text=["a<image>b"], return_tensors="pt")
    expected = [ord("a"), *[processor.image_token_id] * processor.num_image_tokens, ord("b")]
    decoded = processor.tokenizer.convert_ids_to_tokens(inputs["input_ids"][0].tolist())
    assert decoded == [chr(i) if i < 128 else "<image>" for i in expected]
    assert inputs["pixel_values"].dtype == torch.uint8
    assert inputs["pixel_values"].shape == (1, 3, IMAGE_SIZE, IMAGE_SIZE)


@pytest.mark.parametrize(
    "text", ["", "plain", "Umlaut \u00e4, \U0001f600 and\nlines", "</img> <b>"]
)
def test_text_alone_round_trips(processor: IsthmusProcessor, text: str) -> None:
    ids = processor(text=[text], return_tensors="pt")["input_ids"][0] if text else []
    assert processor.decode(ids) == text


def test_an_image_is_turned_upright_in_colour_and_stretched(processor: IsthmusProcessor) -> None:
    # Left half black, right half white; the camera was held on its side.
    picture = np.zeros((40, 60), dtype=np.uint8)
    picture[:, 30:] = 255
    image = Image.fromarray(picture)
    exif = image.getexif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise
    tagged = Image.new("L", image.size)
    tagged.paste(image)
    tagged.info["exif"] = exif.tobytes()
    pixels = processor.views(tagged)[0]
    assert pixels.shape == (3, IMAGE_SIZE, IMAGE_SIZE)
    assert pixels[:, 2].max() == 0
    assert pixels[:, -3].min() == 255


def test_images_come_in_any_form_and_nesting(processor: IsthmusProcessor, tmp_path: Path) -> None:
    image = tiny_image()
    image.save(tmp_path / "image.png")
    expected = processor.views(image)[0]
    for given in (
        image,
        [image],
        [[image]],
        np.asarray(image),
        str(tmp_path / "image.png"),
    ):
        inputs = processor(images=given, text="<image>", return_tensors="pt")
        assert torch.equal(inputs["pixel_values"][0], expected)


def test_the_stock_image_processor_inside_gives_the_same_bytes(
    processor: IsthmusProcessor,
) -> None:
    inner = processor.image_processor(tiny_image(), return_tensors="pt")["pixel_values"][0]
    assert torch.equal(inner.to(torch.uint8), processor.views(tiny_image())[0])
    assert inner.float().max() > 200


def test_settings_that_would_be_ignored_are_refused(processor: IsthmusProcessor) -> None:
    with pytest.raises(ValueError, match="cannot be processed with do_resize"):
        processor(images=[tiny_image()], text=["<image>"], do_resize=False)


def test_a_wrong_number_of_images_is_refused(processor: IsthmusProcessor) -> None:
    with pytest.raises(ValueError, match="2 <image> tokens and 1 images"):
        processor(images=[tiny_image()], text=["<image><image>"])
    with pytest.raises(ValueError, match="no images were passed"):
        processor(text=["<image>"])


def test_typed_parts_become_text_where_the_template_knows_only_text(
    processor: IsthmusProcessor,
) -> None:
    rendered = processor.apply_chat_template([QUESTION, ANSWER])
    assert rendered == "<s>user: <image>What colour?\nassistant: red</s>\n"
    prompt = processor.apply_chat_template([QUESTION], add_generation_prompt=True)
    assert prompt == "<s>user: <image>What colour?\nassistant: "
    plain = processor.apply_chat_template([{"role": "user", "content": "<image>What colour?"}])
    assert rendered.startswith(plain)


def test_a_template_that_knows_images_gets_them(processor: IsthmusProcessor) -> None:
    template = (
        "{% for m in messages %}{% for p in m['content'] %}"
        "{{ '[<image>]' if p['type'] == 'image' else p['text'] }}"
        "{% endfor %}{% endfor %}"
    )
    rendered = processor.apply_chat_template([QUESTION, ANSWER], chat_template=template)
    assert rendered == "[<image>]What colour?red"


def test_a_conversation_goes_straight_to_the_model(
    model: IsthmusForConditionalGeneration, processor: IsthmusProcessor
) -> None:
    image = tiny_image()
    straight = processor.apply_chat_template(
        [with_image(image)],
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
    )
    prompt = processor.apply_chat_template([QUESTION], add_generation_prompt=True)
    by_hand = processor(
        images=[image], text=[prompt], add_special_tokens=False, return_tensors="pt"
    )
    assert straight.keys() == by_hand.keys()
    for name, value in by_hand.items():
        assert torch.equal(straight[name], value), name
    assert model.generate(**straight, max_new_tokens=2).shape[0] == 1


def test_a_batch_of_conversations_may_mix_images_and_text(processor: IsthmusProcessor) -> None:
    conversations = [
        [with_image(tiny_image(0)), ANSWER, with_image(tiny_image(1))],
        [{"role": "user", "content": [{"type": "text", "text": "No image."}]}],
    ]
    inputs = processor.apply_chat_template(
        conversations,
        tokenize=True,
        return_dict=True,
        processor_kwargs={"padding": True},
        return_tensors="pt",
    )
    places = (inputs["input_ids"] == processor.image_token_id).sum(1).tolist()
    assert places == [2 * processor.num_image_tokens, 0]
    assert torch.equal(inputs["pixel_values"][1], processor.views(tiny_image(1))[0])


def test_the_assistant_mask_counts_expanded_images(processor: IsthmusProcessor) -> None:
    inputs = processor.apply_chat_template(
        [with_image(tiny_image()), ANSWER],
        tokenize=True,
        return_dict=True,
        return_assistant_tokens_mask=True,
        return_tensors="pt",
    )
    mask = torch.as_tensor(inputs["assistant_masks"]).bool()
    assert processor.decode(torch.as_tensor(inputs["input_ids"])[mask]) == "red</s>"


def test_a_part_of_another_type_is_refused(processor: IsthmusProcessor) -> None:
    message = {"role": "user", "content": [{"type": "audio"}]}
    with pytest.raises(ValueError, match="type 'audio'; expected 'image' or 'text'"):
        processor.apply_chat_template([message])


def test_the_processor_fits_its_model_only(
    model: IsthmusForConditionalGeneration, processor: IsthmusProcessor
) -> None:
    fitting = IsthmusProcessor.for_model(model.config, processor.tokenizer)
    assert fitting.num_image_tokens == model.config.num_image_tokens == 16
    assert fitting.resize.size == (model.config.image_size,) * 2
    other = tiny_tokenizer()
    other.add_tokens(["<other>", "<image>"], special_tokens=True)
    with pytest.raises(ValueError, match="id 260, the model expects 259"):
        IsthmusProcessor.for_model(model.config, other)
    with pytest.raises(ValueError, match="splits '<image>' into 7 tokens"):
        IsthmusProcessor.for_model(model.config, tiny_tokenizer())


def test_a_tokenizer_learns_the_placeholder_and_to_pad(tmp_path: Path) -> None:
    folder = save_language(tmp_path)
    tokenizer = tiny_tokenizer()
    tokenizer.pad_token = None
    tokenizer.save_pretrained(folder)
    found = load_tokenizer(folder)
    assert found.pad_token == found.eos_token
    assert found.convert_tokens_to_ids("<image>") == len(tokenizer)
    with pytest.raises(ValueError, match="holds no tokenizer"):
        load_tokenizer(str(tmp_path / "nothing"))


def test_tools_learn_how_many_tokens_images_cost(processor: IsthmusProcessor) -> None:
    counts = processor._get_num_multimodal_tokens(image_sizes=[(10, 20), (300, 5)])
    assert counts.num_image_tokens == [16, 16]
