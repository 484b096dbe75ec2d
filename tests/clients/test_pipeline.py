"""transformers' pipeline and Auto classes, on a saved folder."""

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForImageTextToText, AutoProcessor, pipeline

import isthmus
from tests.tiny import tiny_image


def chat(image: object) -> list[dict[str, object]]:
    words = {"type": "text", "text": "What is it?"}
    return [{"role": "user", "content": [{"type": "image", "image": image}, words]}]


def test_the_pipeline_answers_as_generate_does(saved: Path) -> None:
    image = tiny_image(3)
    pipe = pipeline("image-text-to-text", model=str(saved), device="cpu")
    (found,) = pipe(text=chat(image), max_new_tokens=6, do_sample=False, return_full_text=False)
    model, processor = isthmus.load(saved)
    inputs = processor.apply_chat_template(
        chat(image),
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
    )
    written = model.generate(**inputs, max_new_tokens=6, do_sample=False)
    answer = written[0, inputs["input_ids"].shape[1] :]
    assert found["generated_text"] == processor.decode(answer, skip_special_tokens=True)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_auto_classes_load_it(saved: Path, dtype: str) -> None:
    model = AutoModelForImageTextToText.from_pretrained(saved, dtype=dtype)
    assert isinstance(model, isthmus.IsthmusForConditionalGeneration)
    assert {p.dtype for p in model.parameters()} == {getattr(torch, dtype)}
    assert isinstance(AutoProcessor.from_pretrained(saved), isthmus.IsthmusProcessor)
