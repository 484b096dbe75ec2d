"""The recipes of CogVLM: each ablation is one difference, and the stages run one after another."""

from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from rich.console import Console

from isthmus import load, recipes
from isthmus.cli._recipe import flatten
from isthmus.data.facts import Fact, Grounded, Item, Located, Pointed
from isthmus.data.mixture.file import read_mixture
from isthmus.data.templates.instruct import Instructions
from isthmus.data.templates.template import template_set
from isthmus.geometry.box_text import convention
from isthmus.study.architecture import architecture, on_meta
from isthmus.training.data import FileData
from isthmus.training.freeze import freeze_and_thaw
from isthmus.training.log import read_log
from isthmus.training.loop import train
from isthmus.training.models import ModelConfig
from isthmus.training.stage import Recipe, Stage
from isthmus.training.step import Trainee
from isthmus.vision.configuration import Eva2ClipVisionConfig
from isthmus.vision.eva2_clip import Eva2ClipVisionModel
from tests.marks import first_now
from tests.tiny import save_language, tiny_image_processor
from tests.tiny_data import write_data

QUIET = Console(quiet=True)
MIXTURES = Path(__file__).parents[2] / "docs/mixtures"

# What each ablation changes of `short`, and how many billions learn, to the digits of table 6.
FUSION, TRAIN = "model.fusion.", "stages.0.train."
ABLATIONS: dict[str, tuple[set[str], float]] = {
    "short_adapter": ({FUSION, f"{TRAIN}1."}, 0.143),
    "short_language_model": ({FUSION, f"{TRAIN}1.name"}, 6.881),
    "short_every_fourth": ({f"{FUSION}every"}, 1.762),
    "short_feed_forward": ({f"{FUSION}qkv", f"{FUSION}output"}, 4.471),
    "short_random": ({f"{FUSION}{role}" for role in ("qkv", "output", "mlp")}, 6.619),
    "short_full_mask": ({f"{FUSION}image_attention"}, 6.619),
    "short_patch_prediction": ({"stages.0.objectives.1.", f"{TRAIN}2."}, 6.626),
    "short_small_tower": ({"model.vision", "model.vision_layer"}, 6.615),
    "short_no_average": ({"stages.0.ema"}, 6.619),
    "short_attention": ({f"{FUSION}mlp"}, 2.290),
    "short_low_rank": ({f"{FUSION}{part}" for part in ("qkv", "output", "mlp", "rank")}, 0.782),
    "short_sequential": ({f"{FUSION}positions"}, 6.619),
}


def told(name: str) -> dict[str, str]:
    recipe = recipes.resolve(f"cogvlm.{name}").to_dict()
    del recipe["name"], recipe["description"]
    return flatten(recipe)


def test_every_ablation_is_listed() -> None:
    family = [n.partition(".")[2] for n in recipes.names() if n.startswith("cogvlm.")]
    assert {*ABLATIONS, "short", "base_490", "chat", "grounding"} == set(family)


@pytest.mark.parametrize("name", ABLATIONS)
def test_an_ablation_differs_in_what_it_says_and_in_nothing_else(name: str) -> None:
    reference, own = told("short"), told(name)
    changed = {p for p in reference.keys() | own.keys() if reference.get(p) != own.get(p)}
    expected, _ = ABLATIONS[name]
    assert changed
    unexpected = {p for p in changed if not any(p.startswith(start) for start in expected)}
    unchanged = {start for start in expected if not any(p.startswith(start) for p in changed)}
    assert (unexpected, unchanged) == (set(), set())
    assert "model.fusion.positions" not in changed or name == "short_sequential"


@pytest.mark.parametrize("name", first_now(["short", *ABLATIONS]))
def test_as_much_learns_as_the_paper_says(name: str) -> None:
    _, billions = ABLATIONS.get(name, (set(), 6.619))
    assert learning(recipes.resolve(f"cogvlm.{name}")) / 1e9 == pytest.approx(billions, abs=5e-4)


def test_with_instructions_the_tower_learns_at_a_tenth_of_the_rate() -> None:
    recipe = recipes.resolve("cogvlm.chat")
    assert learning(recipe) / 1e9 == pytest.approx(6.619 + 4.281, abs=1e-3)
    rates = {part.name: part.lr for part in recipe.stages[0].train}
    assert rates["vision_tower"] == pytest.approx(rates["fusion"] / 10)


def learning(recipe: Recipe) -> int:
    """Parameters that learn in the last stage, on the meta device."""
    stage = recipe.stages[-1]
    trainee = Trainee(on_meta(architecture(recipe.model)), stage.objectives)
    return sum(row.trainable for row in freeze_and_thaw(trainee.parts(), stage.train))


def test_the_resolution_changes_on_the_way() -> None:
    _, before, after = recipes.resolve("cogvlm.base_490").stages
    assert after.continues
    assert not before.continues
    assert (before.schedule, before.train) == (after.schedule, after.train)
    models = recipes.resolve("cogvlm.base_490").models
    assert all(isinstance(model, ModelConfig) for model in models)
    assert [model.image_size for model in models] == [None, None, 490]
    assert replace(models[1], image_size=490) == models[2]


@pytest.mark.parametrize("name", ["cogvlm.chat", "cogvlm.grounding"])
def test_what_follows_starts_from_the_same_architecture(name: str) -> None:
    base, tuned = recipes.resolve("cogvlm.base_490").model, recipes.resolve(name).model
    assert isinstance(base, ModelConfig)
    assert isinstance(tuned, ModelConfig)
    assert replace(tuned, chat_template=base.chat_template) == base


@pytest.mark.slow
def test_the_stages_run_one_after_another_with_small_towers(tmp_path: Path) -> None:
    small = Small(tmp_path)
    base = small.twin(recipes.resolve("cogvlm.base_490"))
    assert train(base, tmp_path / "base", console=QUIET).steps == 2 * 3
    model, processor = load(tmp_path / "base")
    assert model.config.image_size == 48
    assert processor.num_image_tokens == 6 * 6 + 2
    for name in ("chat", "grounding"):
        tuned = small.twin(recipes.resolve(f"cogvlm.{name}"))
        train(replace(tuned, start=tmp_path / "base"), tmp_path / name, console=QUIET)
        (before, _), (after, _) = (load(tmp_path / run) for run in ("base", name))
        assert changed(before, after) == {"vision_tower", "connector", "fusion"}


def test_both_losses_are_trained_with_a_small_tower(tmp_path: Path) -> None:
    recipe = Small(tmp_path).twin(recipes.resolve("cogvlm.short_patch_prediction"))
    train(recipe, tmp_path / "run", console=QUIET)
    steps = [line for line in read_log(tmp_path / "run") if "patch_prediction" in line]
    assert len(steps) == 2
    for line in steps:
        both = line["language_modeling"] + line["patch_prediction"]
        assert line["loss"] == pytest.approx(both)


class Small:
    """Tiny random parts, and a data file, for the places of the published ones."""

    def __init__(self, folder: Path) -> None:
        torch.manual_seed(0)
        config = Eva2ClipVisionConfig(
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            image_size=32,
            patch_size=8,
        )
        Eva2ClipVisionModel(config).save_pretrained(folder / "vision")
        tiny_image_processor().save_pretrained(folder / "vision")
        self.vision, self.language = str(folder / "vision"), save_language(folder / "language")
        file = write_data(folder, 10)
        self.data = FileData(file=file, image_root=folder, max_bad_share=1.0)

    def twin(self, recipe: Recipe) -> Recipe:
        """The recipe at two steps of three samples a stage; 490 pixels are 48."""
        return replace(
            recipe,
            model=self._model(recipe.model),
            stages=tuple(map(self._stage, recipe.stages)),
        )

    def _stage(self, stage: Stage) -> Stage:
        schedule = replace(stage.schedule, steps=2, batch_size=3)
        model = stage.model and self._model(stage.model)
        return replace(stage, model=model, data=self.data, schedule=schedule, dtype="float32")

    def _model(self, model: Any) -> ModelConfig:
        size = model.image_size and 48
        return replace(model, vision=self.vision, language=self.language, image_size=size)


def changed(before: Any, after: Any) -> set[str]:
    """The parts of two models of one kind whose weights differ."""
    return {
        name
        for name, part in before.parts().items()
        for key, value in part.state_dict().items()
        if not torch.equal(value, after.parts()[name].state_dict()[key])
    }


GROUND = (200, 100)
BOX = (20.0, 10.0, 120.0, 80.0)
WRITTEN = "[[100,100,600,800]]"
FACTS: dict[str, tuple[Fact, set[str]]] = {
    "flickr30k": (
        Grounded(text="A boy runs.", places=((0, 5, (BOX,)),), size=GROUND),
        {f"A boy {WRITTEN} runs."},
    ),
    "refcoco": (Located(phrase="a boy", box=BOX, size=GROUND), {WRITTEN, "a boy"}),
    "vg": (Located(phrase="a boy", box=BOX, size=GROUND), {WRITTEN, "a boy"}),
    "visual7w": (
        Pointed(question="Who runs?", boxes=(BOX, (0.0, 0.0, 9.0, 9.0)), index=0, size=GROUND),
        {WRITTEN},
    ),
    "grounded_cot": (
        Grounded(text="The boy does.", places=((0, 7, (BOX,)),), question="Who?", size=GROUND),
        {f"The boy {WRITTEN} does."},
    ),
}
"""A fact of each task, and all that is learned of it."""


@pytest.mark.parametrize("name", FACTS)
def test_the_four_tasks_of_grounding_are_asked(name: str) -> None:
    mixture = read_mixture(MIXTURES / "cogvlm_grounding.yaml")
    (entry,) = (entry for entry in mixture.entries if entry.name == name)
    asking = mixture.asking_of(entry)
    assert entry.template is None or isinstance(entry.template, str)
    instructions = Instructions(
        name=name,
        template=template_set(entry.template) if entry.template else None,
        diversity=asking.diversity,
        write_boxes=convention(asking.boxes).write,
    )
    fact, answers = FACTS[name]
    item = Item(id="a", images=(Path("/a.png"),), facts=(fact,), task="")
    told = [instructions.sample(item, Random(n)).messages for n in range(40)]
    assert {answer.text for _, answer in told} == answers
    for question, answer in told:
        assert (WRITTEN in question.text) == (name == "visual7w" or WRITTEN not in answer.text)


def test_short_answers_are_asked_for_as_such_and_conversations_are_not() -> None:
    mixture = read_mixture(MIXTURES / "cogvlm_chat.yaml")
    styles = {entry.name: mixture.asking_of(entry).style for entry in mixture.entries}
    assert {name for name, style in styles.items() if style == "chat"} == CONVERSATIONS
    assert {style for name, style in styles.items() if name not in CONVERSATIONS} == {"short"}


CONVERSATIONS = {"llava150k", "llavar", "lrv"}
