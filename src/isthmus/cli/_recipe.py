"""From what the user typed to a recipe, and from a recipe to flat lines."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from isthmus import recipes
from isthmus.data.vetting import MAX_BAD_SHARE
from isthmus.evaluation.results import RECIPE_FILE
from isthmus.training.data import FileData, MixtureData
from isthmus.training.stage import Recipe

_MIXTURE_SUFFIXES = (".yaml", ".yml")
"""Of files that describe a mixture, where others hold rows."""


def find(text: str) -> Recipe:
    """Returns the recipe that a name, a recipe.json or a folder with one stands for.

    Raises:
        ValueError: there is no such recipe, or the file is not one.
    """
    path = Path(text)
    if path.is_dir():
        path = path / RECIPE_FILE
    if path.suffix != ".json":
        return recipes.resolve(text)
    if not path.is_file():
        raise ValueError(f"{path} does not exist; expected a recipe's name or a {RECIPE_FILE}")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # JSON's own, or that of text that is no UTF-8
        raise ValueError(f"{path} is not JSON ({error})") from error
    # Training writes the recipe beside what is known of the run; by itself it is as good.
    recipe = content.get("recipe", content) if isinstance(content, dict) else content
    if not isinstance(recipe, dict):
        raise ValueError(f"{path} holds {recipe!r:.80}; expected an object with a recipe's keys")
    try:
        return Recipe.from_dict(recipe)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def is_mixture(file: Path, image_root: Path | None) -> bool:
    """Returns whether a file describes a mixture, by its name.

    Raises:
        ValueError: it does, and an image root is given beside it.
    """
    if file.suffix not in _MIXTURE_SUFFIXES:
        return False
    if image_root is not None:
        raise ValueError(
            f"--image-root {image_root} is given, and {file} is a mixture, whose data sets have "
            "image roots of their own; name them there"
        )
    return True


def with_files(
    recipe: Recipe,
    data: Path | None,
    image_root: Path | None,
    validation: Path | None = None,
    max_bad_share: float | None = None,
    *,
    lazy: bool = False,
) -> Recipe:
    """Returns the recipe on the user's data, or as it is when there is none.

    Args:
        recipe: what is trained.
        data: file to learn from, in every stage; YAML describes a mixture of several.
        image_root: folder that its image paths start from; the folder of `data` when None.
        validation: file to validate with.
        max_bad_share: of the rows of each file that may be unusable; the recipe's own when None.
        lazy: whether rows are tried when they are due, in place of all before the first step.

    Raises:
        ValueError: a file does not exist, or something is given that no file is there for.
    """
    if data is None:
        for flag, path in (("--image-root", image_root), ("--validation", validation)):
            if path is not None:
                raise ValueError(f"{flag} {path} is given without --data; name the data file")
        if lazy:
            raise ValueError("--lazy is given without --data; name the data file")
        return recipe if max_bad_share is None else _with_bad_share(recipe, max_bad_share)
    root = data.parent if image_root is None else image_root
    files = {"data file": data, "image root": root, "validation file": validation}
    for kind, path in files.items():
        if path is not None and not path.exists():
            raise ValueError(f"the {kind} {path} does not exist")

    def opened(file: Path, *, lazy: bool) -> FileData | MixtureData:
        share = MAX_BAD_SHARE if max_bad_share is None else max_bad_share
        if is_mixture(file, image_root):
            return MixtureData(mixture=file, max_bad_share=share, lazy=lazy)
        return FileData(file=file, image_root=root, max_bad_share=share, lazy=lazy)

    held_out = opened(validation, lazy=False) if validation else None
    return recipe.with_data(opened(data, lazy=lazy), validation=held_out)


def _with_bad_share(recipe: Recipe, share: float) -> Recipe:
    def mended(data: Any) -> Any:
        return (
            replace(data, max_bad_share=share) if isinstance(data, FileData | MixtureData) else data
        )

    stages = tuple(
        replace(stage, data=mended(stage.data), validation=mended(stage.validation))
        for stage in recipe.stages
    )
    if stages == recipe.stages:
        raise ValueError(
            f"--max-bad-share {share:g} is given, but {recipe.name} reads no file of yours, or "
            "allows that share already; name one with --data"
        )
    return replace(recipe, stages=stages)


def flatten(value: Any, path: str = "") -> dict[str, str]:
    """Returns every leaf of nested JSON values under its dotted path, written as JSON."""
    if isinstance(value, dict) and value:
        items = list(value.items())
    elif isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        items = list(enumerate(value))
    else:
        return {path: json.dumps(value)}
    leaves: dict[str, str] = {}
    for key, item in items:
        leaves |= flatten(item, f"{path}.{key}" if path else str(key))
    return leaves
