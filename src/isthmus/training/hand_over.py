"""Weights from one model to the next: of the stage before, or that a recipe starts from."""

from pathlib import Path
from typing import Any

import torch

from isthmus.keys import KeyMap, fits
from isthmus.modeling.loading import load_any
from isthmus.modeling.weights import put_weights
from isthmus.training.models import HandOver
from isthmus.training.stage import PartName, Recipe


def hand_over(source: Any, target: Any, plan: HandOver) -> None:
    """Puts weights of one model into another.

    Args:
        source: the model of the stage before.
        target: the next one, changed in place.
        plan: which weights go where.

    Raises:
        ValueError: the plan does not tell of a weight, names one that is not there, or two models
            differ in one's shape.
    """
    weights = source.state_dict()
    known = (*(name for name, _ in plan.keys), *plan.left)
    if unmatched := [name for name in weights if not fits(known, name)]:
        raise ValueError(
            f"the hand-over does not tell where {unmatched[0]!r} goes ({len(unmatched)} such "
            "weights); add it to its keys, or to what is left"
        )
    handed = [name for name in weights if not fits(plan.left, name)]
    if idle := [name for name, _ in plan.keys if not any(fits((name,), each) for each in handed)]:
        raise ValueError(
            f"{idle[0]!r} of the hand-over's keys fits no weight of the model before that is not "
            "left behind; correct it, or take it out"
        )
    given = KeyMap(plan.keys, ignored=plan.left).to_ours(weights)
    put_weights(target, given, "the model before")
    owners = _owners(target)
    heirs = {owners[name] for name in given}
    unfilled = [
        name
        for name, owner in owners.items()
        if owner in heirs and name not in given and not fits(plan.fresh, name)
    ]
    if unfilled:
        raise ValueError(
            f"the hand-over leaves {unfilled[0]!r} of the next model as it was built "
            f"({len(unfilled)} such weights); add it to what is fresh, or to its keys"
        )


def start_from(target: Any, folder: Path, plan: HandOver | None) -> None:
    """Puts the weights of a trained model into a fresh one.

    Args:
        target: changed in place.
        folder: that training, import or `save_pretrained` wrote.
        plan: which weights go where; None for a model of the same kind, all of whose do.

    Raises:
        ValueError: there is no model, or it is another one.
    """
    if not folder.is_dir():
        raise ValueError(
            f"the start {folder} is no folder; name that of a trained model with --start"
        )
    source, _ = load_any(folder, dtype=torch.float32)
    if plan is not None:
        hand_over(source, target, plan)
        return
    weights = source.state_dict()
    put_weights(target, weights, folder)
    if absent := [name for name in target.state_dict() if name not in weights]:
        raise ValueError(
            f"{folder} lacks {absent[0]!r} of the recipe's model ({len(absent)} such weights); "
            "give both the same parts, or say in the first stage's hand_over what is fresh"
        )


def heirs_of(target: Any, plan: HandOver) -> set[Any]:
    """Returns the parts of a model that take weights over."""
    names = [name for _, name in plan.keys]
    return {owner for name, owner in _owners(target).items() if fits(names, name)}


def heirs_at(model: Any, recipe: Recipe, number: int) -> set[PartName]:
    """Returns the parts of a stage's model that took weights over from another stage's.

    Args:
        model: of the stage.
        recipe: of the run.
        number: of the stage, from 0.
    """
    first, *_ = stages = recipe.since(number)
    # What the first stage starts from lies in a folder, and is read again when a run goes on.
    is_start = len(stages) > number
    return heirs_of(model, first.hand_over) if first.hand_over and not is_start else set()


def _owners(model: Any) -> dict[str, str]:
    """Returns the part that each weight of a model belongs to."""
    parts = {
        id(value): name
        for name, part in model.parts().items()
        for value in part.state_dict().values()
    }
    weights = model.state_dict(keep_vars=True)
    return {name: parts[id(value)] for name, value in weights.items() if id(value) in parts}
