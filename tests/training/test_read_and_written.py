"""A model with an encoder learns by the same loop, resumes to the bit, and answers rightly."""

import json
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from transformers import AutoModelForSeq2SeqLM

import isthmus
from isthmus.connectors.linear import Linear
from isthmus.data.dataset import ConversationDataset
from isthmus.data.quarantine import Quarantine
from isthmus.data.sample import Message, Sample, Text
from isthmus.data.sources import read
from isthmus.evaluation.requests import Generate, split_last_answer
from isthmus.evaluation.runner import answer
from isthmus.objectives.language_modeling import LanguageModeling
from isthmus.training.data import FileData, MicroworldData
from isthmus.training.examples import Conversations
from isthmus.training.loop import train
from isthmus.training.models import ModelConfig
from isthmus.training.read_data import read_data
from isthmus.training.resolve import microworld_files
from isthmus.training.result import TrainResult
from isthmus.training.run_folder import read_description
from isthmus.training.stage import Part, Recipe, Schedule, Stage
from tests.tiny import save_t5, save_vision, t5_byte_tokenizer, tiny_model
from tests.tokenizers_of_families import t5_tokenizer
from tests.training.kills import bit_equal, run_until, weights
from tests.training.tiny_recipe import tiny_recipe


def _train(recipe: Recipe, output: Path, **options: Any) -> TrainResult:
    return train(recipe, output, console=Console(file=StringIO(), width=100), **options)


def _losses(recipe: Recipe, output: Path) -> list[float]:
    return [loss for _, loss in _train(recipe, output).losses]


@pytest.mark.parametrize("tokenizer", [t5_tokenizer, t5_byte_tokenizer])
def test_the_loss_of_text_is_that_of_the_stock_model(tmp_path: Path, tokenizer: Any) -> None:
    language = save_t5(tmp_path / "t5", tokenizer())
    towers = {"vision": save_vision(tmp_path / "vision"), "language": language}
    model = isthmus.IsthmusForConditionalGeneration.from_towers(**towers)
    processor = isthmus.IsthmusProcessor.from_towers(**towers)
    turns = [("user", "What is it?"), ("assistant", "a star"), ("user", "And?"), ("assistant", "r")]
    talk = Sample(id="talk", messages=tuple(Message(r, (Text(text),)) for r, text in turns))
    batch = ConversationDataset([talk], processor).batch([0, 1])
    outcome = LanguageModeling.Config().build(model)(model, batch)

    stock = AutoModelForSeq2SeqLM.from_pretrained(language).eval()
    read = ["What is it?", "What is it?\na star\nAnd?"]
    if tokenizer is t5_byte_tokenizer:  # the other sees no difference between kinds of blanks
        read = [f"{text}\n" for text in read]
    theirs = processor.tokenizer(read, return_tensors="pt", padding=True)
    labels = processor.tokenizer(["a star", "r"], return_tensors="pt", padding=True)
    wanted = labels["input_ids"].masked_fill(labels["attention_mask"] == 0, -100)
    expected = stock(**theirs, labels=wanted)
    torch.testing.assert_close(outcome.losses["language_modeling"], expected.loss)
    inputs = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask}
    again = stock(**inputs, labels=batch.labels)
    torch.testing.assert_close(outcome.losses["language_modeling"], again.loss, rtol=1e-6, atol=0)
    assert batch.num_supervised == (wanted != -100).sum()


def _scenes_and_colours(folder: Path) -> FileData:
    """Scenes of the microworld, all asked the same, so that the picture alone tells the answer."""
    files = microworld_files(MicroworldData(split="train", num=40, turns=1, tasks=("colour",)))
    by_colour = {s.messages[-1].text: s for s in read(files.file, files.image_root)}
    rows = []
    for colour, scene in sorted(by_colour.items())[:4]:
        turns = [
            ("user", [{"type": "image"}, {"type": "text", "text": "Which colour is meant?"}]),
            ("assistant", colour),
            ("user", "Is it square?"),
            ("assistant", "no, it is not"),
        ]
        messages = [{"role": role, "content": content} for role, content in turns]
        rows.append({"id": colour, "images": [str(scene.images[0])], "messages": messages})
    file = folder / "scenes.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return FileData(file=file, image_root=files.image_root)


@pytest.mark.slow
def test_it_learns_what_pictures_show_and_answers_so(tmp_path: Path) -> None:
    data = _scenes_and_colours(tmp_path)
    recipe = Recipe(
        name="tests.reader",
        description="tiny",
        model=ModelConfig(
            vision=save_vision(tmp_path / "vision"),
            # With a head of its own it learns in few steps.
            language=save_t5(tmp_path / "t5", t5_tokenizer(), tie_word_embeddings=False),
            connector=Linear.Config(),
        ),
        stages=(
            Stage(
                name="all",
                train=(Part(name="connector", lr=1e-2), Part(name="language_model", lr=1e-2)),
                data=data,
                schedule=Schedule(steps=80, batch_size=8, accumulation=2),
                feature_store=True,
                checkpoint_every=1.0,
                num_workers=0,
            ),
        ),
    )
    result = _train(recipe, tmp_path / "run")
    assert result.losses[-1][1] < 0.1 < 2 < result.losses[0][1]
    assert read_description(tmp_path / "run")["stages"][0]["samples"] == 8

    model, processor = isthmus.load(tmp_path / "run")
    rows = [part for s in read(data.file, data.image_root) for part in s.by_answer()]
    asked = [
        Generate(id=row.id, prompt=split_last_answer(row)[0], max_new_tokens=16) for row in rows
    ]
    found = answer(model, processor, asked)
    assert len({row.messages[1].text for row in rows}) == 4
    assert {key: one.text for key, one in found.items()} == {
        row.id: row.messages[-1].text for row in rows
    }
    assert all(one.finished for one in found.values())
    blind = answer(model, processor, asked, blind=True)
    assert len({blind[row.id].text for row in rows if "#" not in row.id}) == 1


@pytest.mark.slow
def test_a_killed_run_ends_bit_equal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = tiny_recipe(tmp_path, language="t5", checkpoint_every=0.25, accumulation=3)
    whole = _train(recipe, tmp_path / "whole")
    run_until(monkeypatch, recipe, tmp_path / "killed", 9)
    resumed = _train(recipe, tmp_path / "killed", resume=True)
    assert bit_equal(weights(tmp_path / "whole"), weights(tmp_path / "killed"))
    assert resumed.losses == whole.losses
    assert resumed.validation_losses == whole.validation_losses
    assert resumed.samples == 2 * (22 + 8)  # every third of 22 samples has two answers


@pytest.mark.slow
def test_what_changes_no_loss_changes_none_here(tmp_path: Path) -> None:
    settings = {"language": "t5", "steps": 4, "epochs": None, "dropout": 0.0}
    plain = _losses(tiny_recipe(tmp_path, **settings), tmp_path / "plain")
    for number, changes in enumerate(
        ({"gradient_checkpointing": True, "accumulation": 4}, {"feature_store": True})
    ):
        other = _losses(tiny_recipe(tmp_path, **settings, **changes), tmp_path / f"{number}")
        assert other == pytest.approx(plain, rel=1e-3)
    half = _losses(tiny_recipe(tmp_path, **settings, dtype="bfloat16"), tmp_path / "half")
    assert half[0] == pytest.approx(plain[0], rel=0.05)


@pytest.mark.slow
def test_the_blind_twin_learns_from_the_words(tmp_path: Path) -> None:
    recipe = tiny_recipe(tmp_path, language="t5", steps=4, epochs=None)
    seeing, blind = _train(recipe, tmp_path / "one"), _train(recipe.blind(), tmp_path / "two")
    assert blind.samples == seeing.samples
    assert blind.tokens < seeing.tokens
    assert blind.losses[0] != seeing.losses[0]


@pytest.mark.slow
def test_low_rank_updates_are_saved_apart_and_joined_again(tmp_path: Path) -> None:
    from isthmus.modeling.lora import Lora

    parts = (
        Part(name="language_model", lr=1e-2, lora=Lora(rank=2)),
        Part(name="connector", lr=1e-2),
    )
    recipe = tiny_recipe(tmp_path, language="t5", steps=3, epochs=None, train=parts)
    _train(recipe, tmp_path / "whole")
    _train(replace(recipe, save="trained"), tmp_path / "apart")
    whole, apart = (isthmus.load(tmp_path / name)[0] for name in ("whole", "apart"))
    names = set(whole.state_dict())
    assert names == set(apart.state_dict())
    assert all(torch.equal(whole.state_dict()[n], apart.state_dict()[n]) for n in names)


def test_a_head_tied_to_the_words_stays_one_with_them(tmp_path: Path) -> None:
    model, _ = tiny_model(tmp_path, language="t5", connector="linear")
    assert model.lm_head.weight is model.model.language_model.shared.weight
    own = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "t5")
    own.lm_head.weight = torch.nn.Parameter(torch.randn_like(own.lm_head.weight))
    own.save_pretrained(tmp_path / "apart")
    t5_byte_tokenizer().save_pretrained(tmp_path / "apart")
    apart = isthmus.IsthmusForConditionalGeneration.from_towers(
        vision=str(tmp_path / "siglip_vision_model"), language=str(tmp_path / "apart")
    )
    assert torch.equal(apart.lm_head.weight, own.lm_head.weight)
    apart.save_pretrained(tmp_path / "saved")
    again = isthmus.IsthmusForConditionalGeneration.from_pretrained(tmp_path / "saved")
    assert torch.equal(again.lm_head.weight, own.lm_head.weight)
    assert not torch.equal(again.lm_head.weight, again.model.language_model.shared.weight)


def test_a_row_is_used_with_all_its_answers_or_not_at_all(tmp_path: Path) -> None:
    _, processor = tiny_model(tmp_path, language="t5", connector="linear")
    talk = [
        {"role": "user", "content": "What?"},
        {"role": "assistant", "content": "red"},
        {"role": "user", "content": "So?"},
        {"role": "assistant", "content": "no"},
    ]
    long = [*talk[:3], {"role": "assistant", "content": "no " * 99}]
    rows = [{"id": f"{n}", "messages": long if n == 7 else talk} for n in range(40)]
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = read_data(
        FileData(file=file, image_root=tmp_path),
        Conversations(processor, 100),
        quarantine=Quarantine(tmp_path),
    )
    assert [(each.row, each.reason) for each in found.rejected] == [(8, "too_long")]
    assert "7#2: 298 tokens" in found.rejected[0].message
    assert len(found.samples) == 39
    assert len(ConversationDataset(found.samples, processor)) == 78
