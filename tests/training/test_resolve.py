"""Names in a recipe become towers and files; the embedded world takes the path of a user's data."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoModel
from transformers.utils import logging

from isthmus.connectors._qformer_text import TextSide
from isthmus.connectors.language_adapter import LanguageAdapter
from isthmus.connectors.perceiver_resampler import PerceiverResampler
from isthmus.connectors.qformer import QFormer
from isthmus.data.sources import read
from isthmus.microworld.towers import located
from isthmus.training import resolve
from isthmus.training.data import MicroworldData
from isthmus.training.resolve import build_model, microworld_files
from tests.tiny import save_vision, tiny_image
from tests.training.tiny_recipe import tiny_recipe

VAL = MicroworldData(split="val", num=4, seed=1)


def test_the_embedded_world_is_written_once_and_read_like_any_file(cache: Path) -> None:
    files = microworld_files(VAL)
    assert files.file.is_relative_to(cache)
    written = files.file.stat().st_mtime_ns
    assert microworld_files(VAL) == files
    assert files.file.stat().st_mtime_ns == written
    samples = list(read(files.file, files.image_root))
    assert len(samples) == 4
    assert any(sample.images for sample in samples)


def test_other_numbers_are_other_files() -> None:
    others = [
        MicroworldData(split="val", num=4, seed=2),
        MicroworldData(split="val", num=3, seed=1),
        MicroworldData(split="test", num=4, seed=1),
        MicroworldData(split="val", num=4, seed=1, turns=3),
        MicroworldData(split="val", num=4, seed=1, tasks=("colour",)),
    ]
    assert len({microworld_files(data).file for data in [VAL, *others]}) == 6


def test_turns_and_tasks_are_as_asked() -> None:
    data = MicroworldData(split="val", num=4, turns=3, tasks=("board", "position"))
    files = microworld_files(data)
    for sample in read(files.file, files.image_root):
        assert len(sample.messages) <= 6
        assert sample.task in data.tasks


def test_an_export_that_dies_leaves_nothing(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from isthmus.microworld import export

    whole = export.export

    def dying(directory: Path, **options: object) -> None:
        whole(directory, **options)
        raise OSError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(export, "export", dying)
        with pytest.raises(OSError, match="No space"):
            microworld_files(VAL)
    assert list((cache / "microworld").iterdir()) == []
    assert len(microworld_files(VAL).file.read_text().splitlines()) == 4


def test_a_changed_world_is_another(monkeypatch: pytest.MonkeyPatch) -> None:
    before = microworld_files(VAL)
    monkeypatch.setattr(resolve, "world_digest", lambda: "changed")
    assert microworld_files(VAL) != before


def test_the_attention_kernel_is_that_of_both_towers(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = replace(tiny_recipe(tmp_path).model, attention="eager")
    logging.enable_propagation()  # otherwise what transformers says is not seen here
    try:
        model, _ = build_model(config)
    finally:
        logging.disable_propagation()
    for part in (model.model.vision_tower.encoder, model.model.language_model):
        assert part.config._attn_implementation == "eager"
    assert not caplog.records
    plain, _ = build_model(replace(config, attention=None))
    assert plain.model.language_model.config._attn_implementation == "sdpa"


def test_towers_beside_the_first_and_their_settings(tmp_path: Path) -> None:
    config = replace(
        tiny_recipe(tmp_path).model,
        vision_layer=(1, 2),
        beside=(save_vision(tmp_path / "dinov2", "dinov2"), "microworld:siglip"),
        beside_layer=(-1, -2),
        beside_image_size=(48, 64),
    )
    model, processor = build_model(config)
    assert [tower.layers for tower in model.config.towers] == [(1, 2), (-1,), (-2,)]
    assert [tower.image_size for tower in model.config.towers] == [32, 48, 64]
    assert processor.resize.size == (64, 64)
    assert model.encode_images(processor.views(tiny_image())).features.shape == (1, 16, 224)
    with pytest.raises(ValueError, match="beside_layer has 1 values for 2 towers"):
        replace(config, beside_layer=(-1,))


def test_a_qformer_starts_as_the_bert_of_the_microworld(tmp_path: Path) -> None:
    bert = AutoModel.from_pretrained(located("microworld:bert"))
    sizes = bert.config
    config = replace(
        tiny_recipe(tmp_path).model,
        connector=QFormer.Config(
            d_hidden=sizes.hidden_size,
            depth=sizes.num_hidden_layers,
            num_heads=sizes.num_attention_heads,
            text=TextSide(vocab_size=sizes.vocab_size, num_positions=sizes.max_position_embeddings),
        ),
        connector_start="microworld:bert",
        qformer_tokenizer="microworld:bert",
    )
    model, processor = build_model(config)
    started = model.model.connector
    assert torch.equal(started.text.words.weight, bert.embeddings.word_embeddings.weight)
    query = started.body.layers[1].self_attention.query.weight
    assert torch.equal(query, bert.encoder.layer[1].attention.self.query.weight)
    told = processor.asked(["what is red?"])
    words = processor.qformer_tokenizer.decode(told["qformer_input_ids"][0])
    assert words == "[CLS] what is red? [SEP]"


def test_an_adapter_starts_as_the_tiny_language_model(tmp_path: Path) -> None:
    resampler = PerceiverResampler.Config(num_latents=4, depth=1, final_norm=False)
    config = replace(
        tiny_recipe(tmp_path).model,
        connector=LanguageAdapter.Config(resampler=resampler),
        connector_start="microworld:lm_tiny",
    )
    model, _ = build_model(config)
    stock = AutoModel.from_pretrained(located("microworld:lm_tiny"), dtype=torch.float32)
    own = model.model.connector.body.model.state_dict()
    assert own
    assert all(torch.equal(own[name], stock.state_dict()[name]) for name in own)
    words = model.get_input_embeddings().weight
    rms = words.square().mean().sqrt().item()
    assert model.config.connector.output_rms == pytest.approx(rms, rel=1e-3)


def test_a_connector_that_starts_from_nothing_says_so(tmp_path: Path) -> None:
    config = replace(tiny_recipe(tmp_path).model, connector_start="microworld:bert")
    with pytest.raises(ValueError, match="'linear' starts from no pretrained model"):
        build_model(config)
