"""Pictures of any shape, in one view or in tiles: what the model reads, in every way to it."""

from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from transformers.image_transforms import to_pil_image

import isthmus
from isthmus import IsthmusProcessor, connectors
from isthmus.data.conversation import encode
from isthmus.data.dataset import ConversationDataset
from isthmus.data.sample import ImagePart, Message, Sample, Text
from isthmus.evaluation.encoding import image_inputs
from isthmus.evaluation.requests import Prompt
from isthmus.fusion.gated_cross_attention import GatedCrossAttention
from isthmus.geometry.resize import ResizeStrategy
from isthmus.training.stage_data import open_store
from tests.conformance.test_connectors import small
from tests.tiny import tiny_image, tiny_model

TILES: dict[str, Any] = {"image_resize": "tiles", "max_tiles": 4}
WIDE, TALL = (120, 30), (30, 32)
"""Four tiles in a row beside the whole; and one view alone."""


def sample(tmp_path: Path) -> Sample:
    paths = []
    for number, size in enumerate((WIDE, TALL)):
        paths.append(tmp_path / f"{number}.png")
        tiny_image(number, *size).save(paths[-1])
    question = (ImagePart(), Text("left, "), ImagePart(), Text("right?"))
    messages = (Message("user", question), Message("assistant", (Text("yes"),)))
    return Sample(id="s", messages=messages, images=tuple(paths))


@pytest.mark.parametrize("kind", connectors.names())
@torch.no_grad()
def test_every_connector_reads_every_kind_of_view(tmp_path: Path, kind: str) -> None:
    model, plain = tiny_model(tmp_path, connector=small(kind))
    for strategy in get_args(ResizeStrategy):
        model.config.image_resize = strategy
        model.config.max_tiles = 4 if strategy == "tiles" else None
        processor = IsthmusProcessor.for_model(model.config, plain.tokenizer)
        count = 5 if strategy == "tiles" else 1
        inputs = processor(images=tiny_image(0, *WIDE), text="<image>ab", return_tensors="pt")
        assert inputs["pixel_values"].shape == (count, 3, 32, 32)
        placeholders = (inputs["input_ids"] == processor.image_token_id).sum()
        assert placeholders == count * model.config.num_image_tokens
        assert model(**inputs).logits.isfinite().all()


@torch.no_grad()
def test_a_picture_in_tiles_is_read_as_its_views_are(tmp_path: Path) -> None:
    model, processor = tiny_model(tmp_path, connector="mlp", **TILES)
    _, one = tiny_model(tmp_path, connector="mlp")
    picture = tiny_image(0, *WIDE)
    tiled = processor(images=picture, text="<image>what?", return_tensors="pt")
    views = [to_pil_image(view.numpy(), do_rescale=False) for view in tiled["pixel_values"]]
    apart = one(images=views, text="<image>" * 5 + "what?", return_tensors="pt")
    for name in ("input_ids", "pixel_values"):
        assert torch.equal(tiled[name], apart[name])
    whole, *tiles = tiled["pixel_values"]
    assert torch.equal(whole, one.views(picture)[0])
    wide = picture.resize((128, 32), 3)
    assert torch.equal(tiles[2], one.views(wide.crop((64, 0, 96, 32)))[0])
    assert model(**tiled).logits.isfinite().all()


@torch.no_grad()
def test_training_and_evaluation_see_what_the_processor_sees(tmp_path: Path) -> None:
    model, processor = tiny_model(tmp_path, connector="mlp", **TILES)
    shown = sample(tmp_path)
    batch = ConversationDataset([shown], processor).batch([0])
    chat = [message.to_chat(processor.image_token) for message in shown.messages[:1]]
    text = processor.apply_chat_template(chat, add_generation_prompt=True)
    pictures = [tiny_image(number, *size) for number, size in enumerate((WIDE, TALL))]
    inputs = processor(images=pictures, text=text, return_tensors="pt", add_special_tokens=False)
    length = inputs["input_ids"].shape[1]
    assert torch.equal(batch.input_ids[:, :length], inputs["input_ids"])
    assert torch.equal(batch.pixel_values, inputs["pixel_values"])
    assert len(batch.pixel_values) == 6
    assert len(encode(shown, processor).input_ids) > 6 * 16

    prompt = Prompt(messages=shown.messages[:1], images=shown.images)
    twice = Prompt(messages=shown.messages[:1], images=shown.images[::-1])
    kept = image_inputs(model, processor, [prompt, twice])["patch_features"]
    states = model.encode_images(inputs["pixel_values"]).states
    assert torch.equal(kept, torch.cat([states, states[5:], states[:5]]))
    assert prompt.encode(processor, "p") == inputs["input_ids"][0].tolist()


def test_longer_pictures_count_as_longer_samples(tmp_path: Path) -> None:
    _, tiled = tiny_model(tmp_path, connector="mlp", **TILES)
    _, plain = tiny_model(tmp_path, connector="mlp")
    shown = [sample(tmp_path)]
    difference = (
        ConversationDataset(shown, tiled).lengths()[0]
        - ConversationDataset(shown, plain).lengths()[0]
    )
    assert difference == 4 * 16 * 4  # four more views of 16 tokens, of about 4 characters each


def test_tools_learn_how_many_views_images_take(tmp_path: Path) -> None:
    _, processor = tiny_model(tmp_path, connector="mlp", **TILES)
    counts = processor._get_num_multimodal_tokens(image_sizes=[WIDE[::-1], TALL[::-1]])
    assert counts.num_image_patches == [5, 1]
    assert counts.num_image_tokens == [80, 16]


def test_a_processor_keeps_its_way_to_resize(tmp_path: Path) -> None:
    model, processor = tiny_model(tmp_path, connector="mlp", **TILES)
    for part in (model, processor):
        part.save_pretrained(tmp_path / "saved")
    again, loaded = isthmus.load(tmp_path / "saved")
    assert again.config.max_tiles == 4
    assert torch.equal(loaded.views(tiny_image(0, *WIDE)), processor.views(tiny_image(0, *WIDE)))


@torch.no_grad()
def test_gated_attention_sees_tiles_only_if_it_sees_all_images(tmp_path: Path) -> None:
    small_blocks = {"num_heads": 2, "d_head": 8}
    with pytest.raises(ValueError, match="sees the last tile of a picture alone"):
        tiny_model(tmp_path, fusion=GatedCrossAttention.Config(**small_blocks), **TILES)
    fusion = GatedCrossAttention.Config(**small_blocks, sees="all")
    model, processor = tiny_model(tmp_path, fusion=fusion, **TILES)
    inputs = processor(images=tiny_image(0, *WIDE), text="<image>ab", return_tensors="pt")
    for part in model.model.fusion.parts():
        for parameter in part.parameters():
            parameter.add_(torch.randn_like(parameter))  # the gates are shut at the start
    before = model(**inputs).logits
    inputs["pixel_values"][1] = 255 - inputs["pixel_values"][1]  # the first tile
    assert not torch.equal(model(**inputs).logits[:, -1], before[:, -1])


def test_a_feature_store_of_other_tiles_is_another_one(tmp_path: Path) -> None:
    folders = set()
    for max_tiles in (4, 6):
        model, _ = tiny_model(tmp_path, connector="mlp", image_resize="tiles", max_tiles=max_tiles)
        folders.add(open_store(model, tower="t", dtype=torch.float32).folder)
    assert len(folders) == 2


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"image_resize": "tiles"}, "max_tiles is None; expected at least 2"),
        ({"max_tiles": 4}, "'naive' would ignore"),
    ],
)
def test_tiles_need_a_number_and_nothing_else_takes_one(
    tmp_path: Path, choices: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        tiny_model(tmp_path, connector="mlp", **choices)
