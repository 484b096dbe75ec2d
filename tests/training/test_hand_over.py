"""Two models in one recipe: what goes from the first to the second, and what a run does of it."""

import json
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

from isthmus import load, load_alignment
from isthmus.objectives._contrastive import Contrastive
from isthmus.objectives.alignment import Alignment
from isthmus.recipes._blip2 import QUERIES_ALONE, WITH_TEXT
from isthmus.training import loop
from isthmus.training.data import FileData
from isthmus.training.hand_over import hand_over, heirs_of
from isthmus.training.loop import train
from isthmus.training.models import AlignmentConfig, HandOver, ModelConfig
from isthmus.training.resolve import build
from isthmus.training.stage import Part, Recipe, Schedule, Stage
from tests.tiny import save_language, save_vision
from tests.tiny_alignment import QFORMER, save_bert
from tests.tiny_data import write_data
from tests.training.test_processes import losses
from tests.training.test_processes import train as in_processes

QUIET = Console(quiet=True)


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    """Images and captions first, then a language model."""
    file = write_data(tmp_path / "data", 14)
    data = FileData(file=file, image_root=file.parent, max_bad_share=1.0)
    vision = save_vision(tmp_path / "vision")
    first = Stage(
        name="alignment",
        model=AlignmentConfig(
            vision=vision, text=save_bert(tmp_path / "bert"), qformer=QFORMER, max_caption_tokens=12
        ),
        train=(Part(name="connector", lr=1e-3), Part(name="heads", lr=1e-3)),
        objectives=(Alignment.Config(),),
        data=data,
        schedule=Schedule(batch_size=4, steps=4),
        checkpoint_every=0.5,
    )
    second = Stage(
        name="generative",
        train=(Part(name="language_model", lr=1e-3),),
        hand_over=QUERIES_ALONE,
        data=data,
        schedule=Schedule(batch_size=4, steps=4),
        checkpoint_every=0.5,
    )
    return Recipe(
        name="tests.two_models",
        description="two",
        model=ModelConfig(
            vision=vision,
            language=save_language(tmp_path / "language"),
            connector=replace(QFORMER, text=None),
        ),
        stages=(first, second),
    )


def test_a_pair_alone_is_not_held_against_any_other(recipe: Recipe, tmp_path: Path) -> None:
    first, second = recipe.stages
    alone = replace(first, schedule=replace(first.schedule, accumulation=4))
    with pytest.raises(
        ValueError, match=r"in 4 pieces, and each piece needs at least 2; .* to 8, lower"
    ):
        train(replace(recipe, stages=(alone, second)), tmp_path / "out", console=QUIET)


@pytest.mark.parametrize(
    "plan",
    [
        replace(WITH_TEXT, keys=(*WITH_TEXT.keys, ("qformre.**", "model.connector.**"))),
        replace(WITH_TEXT, left=("**",)),
    ],
    ids=["misspelled", "all left"],
)
def test_a_key_that_hands_nothing_over_is_an_error(recipe: Recipe, plan: HandOver) -> None:
    (first, _), (second, _) = (build(model) for model in recipe.models)
    with pytest.raises(
        ValueError, match=r"'qform\w+\.\*\*' of the hand-over's keys fits no weight"
    ):
        hand_over(first, second, plan)


def test_the_second_model_begins_with_what_the_first_learned(
    recipe: Recipe, tmp_path: Path
) -> None:
    output = tmp_path / "run"
    train(recipe, output, console=QUIET)
    first, _ = load_alignment(output / "alignment")
    second, _ = load(output)
    ours, theirs = first.qformer.state_dict(), second.model.connector.state_dict()
    fresh = {name for name in theirs if name.startswith("projection")}
    assert fresh  # nobody trained the connector after the hand-over, so it is as it came
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs.keys() - fresh)
    built, _ = build(recipe.models[0])
    assert not torch.equal(built.qformer.queries, first.qformer.queries)
    described = json.loads((output / "recipe.json").read_text())
    assert [stage["name"] for stage in described["stages"]] == ["alignment", "generative"]
    assert Recipe.from_dict(described["recipe"]) == recipe


@pytest.mark.parametrize(
    "killed_at",
    [pytest.param(2, marks=pytest.mark.slow), 4, pytest.param(6, marks=pytest.mark.slow)],
)
def test_a_killed_run_of_two_models_ends_bit_equal(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed_at: int
) -> None:
    train(recipe, tmp_path / "whole", console=QUIET)
    write = loop._checkpoint

    def dying(run: Any, *args: Any, **options: Any) -> None:
        write(run, *args, **options)
        if run.position.step == killed_at:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(loop, "_checkpoint", dying)
        with pytest.raises(KeyboardInterrupt):
            train(recipe, tmp_path / "killed", console=QUIET)
    train(recipe, tmp_path / "killed", resume=True, console=QUIET)
    whole, killed = (
        load_file(tmp_path / name / "model.safetensors") for name in ("whole", "killed")
    )
    assert whole.keys() == killed.keys()
    assert all(torch.equal(value, killed[name]) for name, value in whole.items())


@pytest.mark.slow
def test_trained_weights_alone_hold_what_was_handed_over(recipe: Recipe, tmp_path: Path) -> None:
    trained = replace(recipe, save="trained")
    train(recipe, tmp_path / "whole", console=QUIET)
    train(trained, tmp_path / "trained", console=QUIET)
    whole, _ = load(tmp_path / "whole")
    again, _ = load(tmp_path / "trained")
    weights = again.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in whole.state_dict().items())


def test_a_hand_over_that_leaves_something_out_is_refused(recipe: Recipe) -> None:
    first, _ = build(recipe.models[0])
    second, _ = build(recipe.models[1])
    assert heirs_of(second, QUERIES_ALONE) == {"connector"}
    with pytest.raises(ValueError, match=r"does not tell where 'temperature' goes \(1 such"):
        hand_over(first, second, replace(QUERIES_ALONE, left=QUERIES_ALONE.left[:-1]))
    with pytest.raises(ValueError, match=r"leaves 'model.connector.projection.\w+' of the next"):
        hand_over(first, second, replace(QUERIES_ALONE, fresh=()))
    with pytest.raises(ValueError, match=r"holds model.connector.text.words.weight .* absent"):
        hand_over(first, second, WITH_TEXT)
    wider = replace(recipe.models[1], connector=replace(QFORMER, text=None, num_queries=4))
    other, _ = build(wider)
    with pytest.raises(ValueError, match=r"shape \(3, 24\), which is \(4, 24\) in the model"):
        hand_over(first, other, QUERIES_ALONE)


def test_recipes_of_two_models_say_what_goes_over(recipe: Recipe) -> None:
    first, second = recipe.stages
    with pytest.raises(ValueError, match=r"'generative' trains another model .* has no hand_over"):
        replace(recipe, stages=(first, replace(second, hand_over=None)))
    with pytest.raises(ValueError, match=r"trains the same model as .* has a hand_over"):
        replace(
            recipe,
            stages=(first, replace(first, name="again", hand_over=QUERIES_ALONE)),
            model=recipe.models[0],
        )
    with pytest.raises(ValueError, match="trains another model than the recipe's"):
        replace(recipe, stages=(first,))
    assert [stage.name for stage in recipe.since(1)] == ["generative"]
    assert [stage.name for stage in recipe.since(0)] == ["alignment"]


def started(recipe: Recipe, folder: Path, plan: HandOver | None) -> Recipe:
    """The second stage of a recipe, on what a folder holds."""
    return replace(recipe, stages=(replace(recipe.stages[1], hand_over=plan),), start=folder)


@pytest.mark.slow
def test_a_run_can_start_from_the_first_model_of_another(recipe: Recipe, tmp_path: Path) -> None:
    """Bit-equal to one run of both stages, with its own seed alone deciding what is fresh."""
    whole, late = tmp_path / "whole", tmp_path / "late"
    train(recipe, whole, console=QUIET)
    train(started(recipe, whole / "alignment", QUERIES_ALONE), late, console=QUIET)
    first, _ = load_alignment(whole / "alignment")
    second, _ = load(late)
    assert torch.equal(second.model.connector.queries, first.qformer.queries)
    facts = [json.loads((folder / "recipe.json").read_text()) for folder in (whole, late)]
    assert facts[0]["towers"]["language_model"] == facts[1]["towers"]["language_model"]
    assert facts[0]["towers"]["connector"] != facts[1]["towers"]["connector"]


@pytest.mark.slow
@pytest.mark.parametrize("save", ["whole", "trained"])
def test_a_run_can_go_on_from_a_finished_model(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, save: str
) -> None:
    train(recipe, tmp_path / "before", console=QUIET)
    begun, _ = load(tmp_path / "before")
    tuned = started(recipe, tmp_path / "before", None)
    head = replace(tuned.stages[0], train=(Part(name="connector", lr=1e-3),))
    tuned = replace(tuned, stages=(head,), save=save)
    train(tuned, tmp_path / "tuned", console=QUIET)
    model, _ = load(tmp_path / "tuned")
    language, learned = begun.model.language_model, model.model.language_model
    assert all(
        torch.equal(value, learned.state_dict()[name])
        for name, value in language.state_dict().items()
    )
    assert not torch.equal(begun.model.connector.queries, model.model.connector.queries)
    # Killed, it goes on from the same start.
    write = loop._checkpoint

    def dying(run: Any, *args: Any, **options: Any) -> None:
        write(run, *args, **options)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(loop, "_checkpoint", dying)
        with pytest.raises(KeyboardInterrupt):
            train(tuned, tmp_path / "killed", console=QUIET)
    train(tuned, tmp_path / "killed", resume=True, console=QUIET)
    again, _ = load(tmp_path / "killed")
    assert all(torch.equal(v, again.state_dict()[n]) for n, v in model.state_dict().items())


def test_a_start_that_does_not_fit_is_refused(recipe: Recipe, tmp_path: Path) -> None:
    train(recipe, tmp_path / "before", console=QUIET)
    with pytest.raises(ValueError, match="no folder; name that of a trained model with --start"):
        train(started(recipe, tmp_path / "none", None), tmp_path / "run", console=QUIET)
    with pytest.raises(ValueError, match="name that model's folder as start"):
        replace(recipe, stages=recipe.stages[1:])
    wider = replace(recipe.models[1], connector=replace(QFORMER, text=None, num_queries=4))
    other = replace(started(recipe, tmp_path / "before", None), model=wider)
    with pytest.raises(ValueError, match=r"before holds model.connector.queries of shape \(3, 24"):
        train(other, tmp_path / "run", console=QUIET)
    more = replace(recipe.models[1], connector=replace(QFORMER, text=None, depth=QFORMER.depth + 1))
    other = replace(started(recipe, tmp_path / "before", None), model=more)
    with pytest.raises(ValueError, match=r"lacks 'model.connector.body.layers.* such weights"):
        train(other, tmp_path / "run", console=QUIET)


def test_the_blind_twin_of_a_start_goes_on_from_it(recipe: Recipe, tmp_path: Path) -> None:
    folder = tmp_path / "before"
    assert started(recipe, folder, None).blind().start == folder
    assert started(recipe, folder, QUERIES_ALONE).blind().start is None


def test_the_blind_twin_begins_with_the_language_model(recipe: Recipe, tmp_path: Path) -> None:
    blind = recipe.blind()
    assert [(stage.name, stage.blind) for stage in blind.stages] == [("generative", True)]
    train(blind, tmp_path / "blind", console=QUIET)
    with pytest.raises(ValueError, match="without images there is nothing to learn"):
        replace(recipe, stages=recipe.stages[:1], model=recipe.models[0]).blind()


def test_rows_without_an_image_are_left_out_and_counted(recipe: Recipe, tmp_path: Path) -> None:
    file = tmp_path / "data/messages.jsonl"
    row = {
        "id": "text-alone",
        "messages": [
            {"role": "user", "content": "What is it?"},
            {"role": "assistant", "content": "a star"},
        ],
    }
    file.write_text(file.read_text() + json.dumps(row) + "\n")
    output = tmp_path / "run"
    alone = replace(recipe, stages=recipe.stages[:1], model=recipe.models[0])
    alone = replace(alone, stages=(replace(alone.stages[0], model=None),))
    train(alone, output, console=QUIET)
    lines = (output / "quarantine.jsonl").read_text().splitlines()
    left_out = {row["id"]: row["reason"] for row in map(json.loads, lines)}
    (stage,) = json.loads((output / "recipe.json").read_text())["stages"]
    assert stage["cut"] == 0
    # Every fourth row shows two images, and every fourth none.
    expected = ["row-2", "row-3", "row-6", "row-7", "row-10", "row-11", "text-alone"]
    assert left_out == dict.fromkeys(expected, "image_marks")


def test_pairs_are_not_packed(recipe: Recipe, tmp_path: Path) -> None:
    packed = replace(recipe.stages[0], pack_tokens=64)
    with pytest.raises(ValueError, match="compared row by row; set pack_tokens to None"):
        train(replace(recipe, stages=(packed, recipe.stages[1])), tmp_path / "run", console=QUIET)


def test_captions_that_are_cut_are_counted(recipe: Recipe, tmp_path: Path) -> None:
    short = replace(recipe.stages[0].model, max_caption_tokens=4)
    alone = replace(recipe.stages[0], model=None, schedule=Schedule(batch_size=4, steps=1))
    whole = replace(recipe, model=short, stages=(alone,))
    said = StringIO()
    train(whole, tmp_path / "run", console=Console(file=said, width=200))
    (stage,) = json.loads((tmp_path / "run/recipe.json").read_text())["stages"]
    assert 0 < stage["cut"] <= stage["samples"]
    line = f"captions longer than the model reads: {stage['cut']} of {stage['samples']};"
    assert line in said.getvalue()


@pytest.mark.slow
def test_two_processes_learn_both_models_as_one_does(recipe: Recipe, tmp_path: Path) -> None:
    """Negatives are drawn by each process for itself, so matching is left out here."""
    contrast = Contrastive(gradient=True)
    objective = Alignment.Config(contrastive=contrast, matching=None, captioning=None)
    first, second = recipe.stages
    first = replace(first, objectives=(objective,), schedule=Schedule(batch_size=4, steps=2))
    whole = replace(recipe, stages=(first, second))
    for processes in (1, 2):
        in_processes(whole, tmp_path / f"of-{processes}", processes=processes)
    one, two = (losses(tmp_path / f"of-{n}") for n in (1, 2))
    assert len(one) == 6
    assert one == pytest.approx(two, rel=1e-4)  # rounding grows with each step
    weights = [load_file(tmp_path / f"of-{n}/model.safetensors") for n in (1, 2)]
    for name, value in weights[0].items():
        # Where a gradient is zero but for rounding, Adam's first steps may go either way.
        assert (weights[1][name] - value).abs().mean() < 1e-5, name
