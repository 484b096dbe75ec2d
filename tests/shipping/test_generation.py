"""BLIP-2 and InstructBLIP of transformers, there and back: weights, logits, answers."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import (
    Blip2ForConditionalGeneration,
    Blip2Processor,
    Blip2QFormerModel,
    InstructBlipForConditionalGeneration,
    InstructBlipProcessor,
)

from isthmus import IsthmusForConditionalGeneration
from isthmus.connectors._qformer_names import BESIDE_FILE
from isthmus.connectors.qformer import QFormer
from isthmus.data.conversation import prompt
from isthmus.data.rendering import check_template, render_answers
from isthmus.data.sample import ImagePart, Message, Text
from isthmus.shipping.export import export
from isthmus.shipping.import_ import import_model
from tests.shipping import published
from tests.shipping.published import NUM_QUERIES, close, pixels, prompts, save_generation, texts
from tests.tiny import IMAGE_SIZE, tiny_image, tiny_model

STOCK: dict[bool, Any] = {
    False: (Blip2ForConditionalGeneration, Blip2Processor, "blip2"),
    True: (InstructBlipForConditionalGeneration, InstructBlipProcessor, "instructblip"),
}


def given(language: str, *, reads: bool, rows: int = 2) -> dict[str, Tensor]:
    """What either model is given beside pixels and prompt."""
    words = {f"qformer_{name}": value for name, value in texts(rows).items()} if reads else {}
    if language == "t5":
        words["decoder_input_ids"] = torch.randint(3, 256, (rows, 5))
    return words


@pytest.mark.parametrize(
    ("language", "reads"),
    [("opt", False), ("llama", False), ("t5", False), ("opt", True), ("t5", True)],
)
def test_there_and_back(language: str, reads: bool, tmp_path: Path) -> None:
    stock = save_generation(tmp_path / "stock", language=language, reads=reads)
    kind, processor_kind, name = STOCK[reads]
    imported = import_model(str(tmp_path / "stock"))
    assert imported.notes == ()
    assert imported.model.config.connector.patch_norm_eps == 1e-6
    own, theirs = pixels(2)
    ids, words = prompts(2), given(language, reads=reads)
    with torch.no_grad():
        expected = stock(pixel_values=theirs, input_ids=ids, **words).logits
        logits = imported.model(pixel_values=own, input_ids=ids, **words).logits
        close(logits, expected)
        # Its pictures and, where it reads them, its instructions count.
        for changed in ({"pixel_values": own.flip(0)}, *_other_words(words)):
            same = {"pixel_values": own, "input_ids": ids, **words, **changed}
            assert (imported.model(**same).logits - expected).abs().max() > 1e-3

    assert export(imported.model, imported.processor, name, tmp_path / "back") == ()
    assert published.same(kind.from_pretrained(tmp_path / "back"), stock)
    before, after = (
        processor_kind.from_pretrained(tmp_path / folder)(
            images=tiny_image(), text="What is it?", return_tensors="pt"
        )
        for folder in ("stock", "back")
    )
    assert before.keys() == after.keys()
    assert all(torch.equal(before[n], after[n]) for n in before)
    assert before["input_ids"][0, :NUM_QUERIES].tolist() == [published.PLACEHOLDER] * NUM_QUERIES
    assert before["input_ids"][0, NUM_QUERIES] != published.PLACEHOLDER


def _other_words(words: dict[str, Tensor]) -> list[dict[str, Tensor]]:
    name = "qformer_input_ids"
    return [{name: words[name].roll(1, 1)}] if name in words else []


@pytest.mark.parametrize("language", ["opt", "t5"])
def test_the_language_model_alone_and_whole_answers_stay(language: str, tmp_path: Path) -> None:
    stock = save_generation(tmp_path, language=language)
    imported = import_model(str(tmp_path))
    ids = torch.randint(3, 256, (2, 9))
    words = given(language, reads=False)
    with torch.no_grad():
        alone = imported.model(input_ids=ids, **words).logits
        assert torch.equal(alone, stock.language_model(input_ids=ids, **words).logits)

    own, theirs = pixels(2)
    asked = {"input_ids": prompts(2), "do_sample": False, "max_new_tokens": 12}
    expected = stock.generate(pixel_values=theirs, **asked)
    found = imported.model.generate(pixel_values=own, **asked)
    assert torch.equal(found, expected)
    assert len(expected[:, -12:].unique()) > 3
    # The processors bring a picture to the same pixels.
    pixel_values = Blip2Processor.from_pretrained(tmp_path)(
        images=tiny_image(), return_tensors="pt"
    ).pixel_values
    seen = imported.processor(images=[tiny_image()], text="<image>")["pixel_values"]
    with torch.no_grad():
        patches = imported.model.encode_images(seen).states
        expected = stock.vision_model(pixel_values).last_hidden_state
        close(imported.model.model.connector.patch_norm(patches), expected)


def test_pictures_stand_before_the_begin_token(tmp_path: Path) -> None:
    save_generation(tmp_path)
    processor = import_model(str(tmp_path)).processor
    question = [
        Message("user", (ImagePart(), Text("Hm?"))),
        Message("assistant", (Text("red"),)),
        Message("user", (Text("So?"),)),
        Message("assistant", (Text("no"),)),
    ]
    text, answers = render_answers(question, processor, "row")
    assert text == "<image><s>Hm? red</s>So? no</s>"
    assert [text[slice(*span)] for span in answers] == [" red</s>", " no</s>"]
    assert prompt(question[:2], processor)[:5] == [published.PLACEHOLDER] * NUM_QUERIES + [0]
    caption = [Message("user", (ImagePart(),)), Message("assistant", (Text("a star"),))]
    assert render_answers(caption, processor, "row")[0] == "<image><s>a star</s>"
    check_template(processor)


def test_a_checkpoint_that_names_no_placeholder_takes_the_tokenizers(tmp_path: Path) -> None:
    save_generation(tmp_path, image_token_index=None)
    assert import_model(str(tmp_path)).model.config.image_token_id == published.PLACEHOLDER


def test_the_qformer_alone_has_the_projection_beside_it(tmp_path: Path) -> None:
    stock = save_generation(tmp_path / "stock", reads=True)
    imported = import_model(str(tmp_path / "stock"))
    export(imported.model, imported.processor, "blip2_qformer", tmp_path / "alone")
    alone = Blip2QFormerModel.from_pretrained(tmp_path / "alone").eval()
    beside = load_file(tmp_path / "alone" / BESIDE_FILE)
    patches = torch.randn(2, 17, published.VISION["hidden_size"])
    with torch.no_grad():
        states = alone(
            query_embeds=beside["query_tokens"].expand(2, -1, -1), encoder_hidden_states=patches
        ).last_hidden_state
        expected = stock.language_projection(
            stock.qformer(
                input_ids=None,
                query_embeds=stock.query_tokens.expand(2, -1, -1),
                encoder_hidden_states=patches,
            ).last_hidden_state
        )
        found = states @ beside["language_projection.weight"].T
    close(found + beside["language_projection.bias"], expected)
    norm = stock.vision_model.post_layernorm.weight
    assert torch.equal(beside["ln_vision.weight"], norm)


def test_the_placeholder_gets_a_row_where_the_vocabulary_is_full(tmp_path: Path) -> None:
    model, processor = _own_model(tmp_path, vision_layer=-1, patch_norm_eps=None)
    rows = model.config.text_config.vocab_size
    assert processor.image_token_id == rows  # beyond the last
    model.generation_config.eos_token_id = 7
    note, asked = export(model, processor, "blip2", tmp_path / "blip2")
    assert "the model learned to be asked as '<s>user: <image>What is it?" in asked
    assert f"the vocabulary of {rows} grew to {rows + 1}" in note
    stock = Blip2ForConditionalGeneration.from_pretrained(tmp_path / "blip2")
    assert stock.config.image_token_index == rows
    assert stock.language_model.generation_config.eos_token_id == 7
    assert stock.config.text_config.vocab_size == rows + 1
    ids = prompts(2, rows)
    own = torch.randint(0, 256, (2, 3, IMAGE_SIZE, IMAGE_SIZE), dtype=torch.uint8)
    theirs = (own / 255 - _column(model.config.image_mean)) / _column(model.config.image_std)
    with torch.no_grad():
        expected = model(pixel_values=own, input_ids=ids).logits
        found = stock(pixel_values=theirs, input_ids=ids).logits
    close(found[..., :-1], expected)
    close(found[..., -1], expected.mean(-1))


@pytest.mark.parametrize("language", ["gpt2", "t5"])
def test_another_image_size_and_fewer_layers_are_exported(language: str, tmp_path: Path) -> None:
    model, processor = _own_model(tmp_path, language=language, vision_layer=-2, image_size=48)
    export(model, processor, "blip2", tmp_path / "blip2")
    stock = Blip2ForConditionalGeneration.from_pretrained(tmp_path / "blip2")
    assert stock.config.vision_config.num_hidden_layers == 2
    assert stock.config.vision_config.image_size == 48
    own = torch.randint(0, 256, (1, 3, 48, 48), dtype=torch.uint8)
    theirs = (own / 255 - _column(model.config.image_mean)) / _column(model.config.image_std)
    words = given(language, reads=False, rows=1)
    ids = prompts(1, processor.image_token_id)
    with torch.no_grad():
        expected = model(pixel_values=own, input_ids=ids, **words).logits
        found = stock(pixel_values=theirs, input_ids=ids, **words).logits
    close(found[..., : expected.shape[-1]], expected)


def test_another_epsilon_is_told(tmp_path: Path) -> None:
    model, processor = _own_model(tmp_path, vision_layer=-2, patch_norm_eps=1e-3)
    notes = export(model, processor, "blip2", tmp_path / "blip2")
    assert "epsilon 0.001 here and 1e-06 there" in notes[-1]


def test_a_way_to_resize_that_is_not_theirs_leaves_the_processor_out(tmp_path: Path) -> None:
    model, processor = _own_model(tmp_path, vision_layer=-2, image_resize="letterbox")
    notes = export(model, processor, "blip2", tmp_path / "blip2")
    assert "resizes pictures by 'letterbox'" in notes[0]
    assert not (tmp_path / "blip2" / "processor_config.json").exists()


def _own_model(
    folder: Path, *, language: str = "llama", patch_norm_eps: float | None = 1e-6, **choices: Any
) -> tuple[IsthmusForConditionalGeneration, Any]:
    connector = QFormer.Config(
        num_queries=NUM_QUERIES,
        depth=2,
        d_hidden=24,
        num_heads=2,
        d_ffn=32,
        patch_norm_eps=patch_norm_eps,
    )
    model, processor = tiny_model(
        folder,
        language=language,
        vision="blip_2_vision_model",
        connector=connector,
        vision_prefix=True,
        **choices,
    )
    for parameter in model.model.connector.parameters():
        nn.init.normal_(parameter, std=0.3)
    return model, processor


def _column(values: list[float]) -> Tensor:
    return torch.tensor(values)[:, None, None]
