"""Weights from the model of one stage to that of the next, as the recipe declares it."""

from typing import Any

from isthmus.modeling.keys import KeyMap, fits
from isthmus.training.models import HandOver


def hand_over(source: Any, target: Any, plan: HandOver) -> None:
    """Puts weights of one model into another.

    Args:
        source: the model of the stage before.
        target: the next one, changed in place.
        plan: which weights go where.

    Raises:
        ValueError: the plan does not tell of a weight, or two models differ in one's shape.
    """
    weights = source.state_dict()
    known = (*(name for name, _ in plan.keys), *plan.left)
    if unmatched := [name for name in weights if not fits(known, name)]:
        raise ValueError(
            f"the hand-over does not tell where {unmatched[0]!r} goes ({len(unmatched)} such "
            "weights); add it to its keys, or to what is left"
        )
    given = KeyMap(plan.keys, ignored=plan.left).to_ours(weights)
    own = target.state_dict()
    for name, value in given.items():
        if name not in own or own[name].shape != value.shape:
            found = tuple(own[name].shape) if name in own else "absent"
            raise ValueError(
                f"the hand-over brings {name!r} of shape {tuple(value.shape)}, which is {found} in "
                "the next model; give both stages the same sizes"
            )
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
    target.load_state_dict(given, strict=False)


def heirs_of(target: Any, plan: HandOver) -> set[Any]:
    """Returns the parts of a model that take weights over."""
    names = [name for _, name in plan.keys]
    return {owner for name, owner in _owners(target).items() if fits(names, name)}


def _owners(model: Any) -> dict[str, str]:
    """Returns the part that each weight of a model belongs to."""
    parts = {
        id(value): name
        for name, part in model.parts().items()
        for value in part.state_dict().values()
    }
    weights = model.state_dict(keep_vars=True)
    return {name: parts[id(value)] for name, value in weights.items() if id(value) in parts}
