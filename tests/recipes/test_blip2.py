"""The recipes of BLIP-2: their facts, and each run with small towers of the same classes."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from isthmus import load, load_alignment, recipes
from isthmus.objectives.alignment import Alignment
from isthmus.training.data import FileData
from isthmus.training.loop import train
from isthmus.training.models import AlignmentConfig, ModelConfig
from isthmus.training.stage import Part, Recipe, Stage
from tests.marks import first_now
from tests.tiny import save_language, save_vision
from tests.tiny_alignment import QFORMER, save_bert
from tests.tiny_data import write_data

ALL = [name for name in recipes.names() if name.startswith("blip2.")]
TUNED = [name for name in ALL if recipes.resolve(name).start]
NAMES = [name for name in ALL if name not in TUNED]
LANGUAGES = {"opt": "opt", "flan_t5": "t5", "vicuna": "llama"}


@pytest.mark.parametrize("name", NAMES)
def test_the_first_stage_is_the_papers(name: str) -> None:
    """Section 3.4 of the paper, and the sizes of its Q-Former (P: the paper, L: its code)."""
    recipe = recipes.resolve(name)
    first, model = recipe.stages[0], recipe.models[0]
    assert isinstance(model, AlignmentConfig)
    schedule = first.schedule
    assert (schedule.steps, schedule.batch_size) == (250_000, 1680)  # P
    assert {part.lr for part in first.train} == {1e-4}  # P
    assert schedule.warmup_share * 250_000 == pytest.approx(2000)  # P
    assert schedule.betas == (0.9, 0.98)  # P
    assert schedule.weight_decay == 0.05  # P
    assert schedule.clip is None  # L
    qformer = model.qformer
    assert (qformer.num_queries, qformer.d_hidden, qformer.depth) == (32, 768, 12)  # P
    assert qformer.cross_attention_every == 2  # P
    assert qformer.dropout == 0.1  # L
    assert (model.d_embedding, model.temperature, model.max_caption_tokens) == (256, 0.07, 32)  # L
    assert (model.vision_layer, model.vision_prefix) == (39, True)  # P, L
    (objective,) = first.objectives
    assert isinstance(objective, Alignment.Config)
    assert objective.contrastive is not None
    assert objective.captioning is not None
    assert objective.contrastive.label_smoothing == objective.captioning.label_smoothing == 0.1  # L
    assert objective.matching is not None
    assert objective.matching.negatives == "all"  # L


@pytest.mark.parametrize(
    ("name", "batch_size"), [("blip2.vit_g_opt_2_7b", 1920), ("blip2.vit_g_flan_t5_xl", 1520)]
)
def test_the_second_stage_is_the_papers(name: str, batch_size: int) -> None:
    second = recipes.resolve(name).stages[1]
    schedule = second.schedule
    assert (schedule.steps, schedule.batch_size) == (80_000, batch_size)
    assert schedule.warmup_share * 80_000 == pytest.approx(2000)
    assert schedule.final_lr_share * second.train[0].lr == pytest.approx(5e-5)
    assert [part.name for part in second.train] == ["connector"]


def test_what_was_built_on_it_is_as_its_papers_say() -> None:
    """InstructBLIP, section 2.6 (from memory), and MiniGPT-4, section 3 and its settings."""
    instructed = recipes.resolve("blip2.instructblip_vicuna_7b").stages[1].schedule
    assert (instructed.steps, instructed.batch_size, instructed.weight_decay) == (60_000, 128, 0.05)
    assert instructed.warmup_share * 60_000 == pytest.approx(1000)
    assert instructed.betas == (0.9, 0.999)
    _, captions, descriptions = recipes.resolve("blip2.minigpt4_vicuna_7b").stages
    for stage, steps, batch_size, peak, least, warmup in (
        (captions, 20_000, 256, 1e-4, 8e-5, 5000),
        (descriptions, 400, 12, 3e-5, 1e-5, 200),
    ):
        schedule = stage.schedule
        assert (schedule.steps, schedule.batch_size) == (steps, batch_size)
        assert stage.train[0].lr == peak
        assert schedule.final_lr_share * peak == pytest.approx(least)
        assert schedule.warmup_share * steps == pytest.approx(warmup)


@pytest.mark.parametrize("name", ALL)
def test_queries_stand_before_the_prompt_as_in_the_published_models(name: str) -> None:
    model = recipes.resolve(name).model
    assert isinstance(model, ModelConfig)
    templates = {"flan_t5": "lines", "minigpt4": "vicuna"}
    expected = next((form for word, form in templates.items() if word in name), "blip2")
    assert model.chat_template == expected


@pytest.mark.parametrize("name", first_now(NAMES))
def test_it_runs_with_small_towers_of_the_same_classes(name: str, tmp_path: Path) -> None:
    recipe = shrunk(recipes.resolve(name), tmp_path)
    output = tmp_path / "run"
    result = train(recipe, output, console=Console(quiet=True))
    assert result.steps == 2 * len(recipe.stages)
    load_alignment(output / "alignment")
    model, processor = load(output)
    assert model.config.connector.num_tokens((4, 4)) == QFORMER.num_queries
    assert (processor.qformer_tokenizer is not None) == ("instruct" in name)


@pytest.mark.parametrize(
    ("name", "batch_size", "image_size", "decay"),
    [
        ("blip2.vit_g_opt_2_7b_captions", 256, 364, 1.0),
        ("blip2.vit_g_opt_2_7b_vqa", 128, 490, 0.95),
    ],
)
def test_fine_tuning_is_the_papers(
    name: str, batch_size: int, image_size: int, decay: float
) -> None:
    """Tables 7 and 8."""
    recipe = recipes.resolve(name)
    (stage,) = recipe.stages
    schedule = stage.schedule
    assert isinstance(recipe.model, ModelConfig)
    assert recipe.model.image_size == image_size
    assert (schedule.epochs, schedule.batch_size) == (5, batch_size)
    assert (schedule.weight_decay, schedule.betas) == (0.05, (0.9, 0.999))
    tower, connector = stage.train
    assert (tower.name, tower.lr, tower.layer_decay) == ("vision_tower", 1e-5, decay)
    assert (connector.name, connector.lr) == ("connector", 1e-5)


@pytest.mark.parametrize("name", first_now(TUNED))
def test_fine_tuning_goes_on_from_pre_training(name: str, tmp_path: Path) -> None:
    """At twice the image size: what the tower learned of places is interpolated."""
    before = shrunk(recipes.resolve("blip2.vit_g_opt_2_7b"), tmp_path)
    train(before, tmp_path / "before", console=Console(quiet=True))
    whole = recipes.resolve(name)
    recipe = replace(shrunk(whole, tmp_path), start=tmp_path / "before")
    recipe = replace(recipe, model=replace(recipe.model, image_size=64))
    train(recipe, tmp_path / "run", console=Console(quiet=True))
    (old, _), (new, _) = (load(tmp_path / run) for run in ("before", "run"))
    changed = {
        part
        for part, module in old.parts().items()
        for key, value in module.state_dict().items()
        if not torch.equal(value, new.parts()[part].state_dict()[key])
    }
    assert changed == {"vision_tower", "connector"}
    assert new.config.image_size == 64


def shrunk(recipe: Recipe, folder: Path) -> Recipe:
    """The recipe with tiny random parts in the places of the published ones."""
    file = write_data(folder / "data", 10)
    data = FileData(file=file, image_root=file.parent, max_bad_share=1.0)
    kind = next(family for word, family in LANGUAGES.items() if word in recipe.name)
    vision = save_vision(folder / "vision", "blip_2_vision_model")
    text = save_bert(folder / "bert")
    language = save_language(folder / "language", kind)

    def model(given: Any) -> Any:
        if given is None:
            return None
        if isinstance(given, AlignmentConfig):
            return replace(
                given,
                vision=vision,
                text=text,
                qformer=QFORMER,
                vision_layer=3,
                max_caption_tokens=9,
            )
        assert isinstance(given, ModelConfig)
        connector: Any = given.connector
        return replace(
            given,
            vision=vision,
            language=language,
            connector=QFORMER if connector.text else replace(QFORMER, text=None),
            qformer_tokenizer=text if given.qformer_tokenizer else None,
            vision_layer=3,
        )

    def stage(given: Stage) -> Stage:
        schedule = replace(given.schedule, epochs=None, steps=2, batch_size=3)
        return replace(
            given, model=model(given.model), data=data, schedule=schedule, dtype="float32"
        )

    return replace(recipe, model=model(recipe.model), stages=tuple(map(stage, recipe.stages)))


@pytest.mark.slow
def test_minigpt4_trains_the_last_map_alone(tmp_path: Path) -> None:
    recipe = shrunk(recipes.resolve("blip2.minigpt4_vicuna_7b"), tmp_path)
    train(recipe, tmp_path / "run", console=Console(quiet=True))
    first, _ = load_alignment(tmp_path / "run/alignment")
    model, _ = load(tmp_path / "run")
    ours, theirs = first.qformer.state_dict(), model.model.connector.state_dict()
    shared = theirs.keys() & ours.keys()
    assert theirs.keys() - shared == {"projection.weight", "projection.bias"}
    assert all(torch.equal(ours[name], theirs[name]) for name in shared)


def test_a_name_that_no_weight_has_is_refused(tmp_path: Path) -> None:
    recipe = shrunk(recipes.resolve("blip2.minigpt4_vicuna_7b"), tmp_path)
    wrong = replace(recipe.stages[1], train=(Part(name="connector", lr=1.0, only=("project.*",)),))
    recipe = replace(recipe, stages=(recipe.stages[0], wrong, recipe.stages[2]))
    with pytest.raises(ValueError, match=r"no weight of the part 'connector' is called project"):
        train(recipe, tmp_path / "run", console=Console(quiet=True))


def test_answers_are_split_for_a_decoder_alone(tmp_path: Path) -> None:
    recipe = shrunk(recipes.resolve("blip2.vit_g_opt_2_7b"), tmp_path)
    second = replace(recipe.stages[1], split_answers=True)
    with pytest.raises(ValueError, match="splits answers between an encoder and a decoder"):
        train(
            replace(recipe, stages=(recipe.stages[0], second)),
            tmp_path / "run",
            console=Console(quiet=True),
        )
