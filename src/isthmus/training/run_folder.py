"""The folder of a run: whose it is, what is written about the run, and its model at the end."""

import importlib.metadata
import json
import platform
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from isthmus.data.quarantine import QUARANTINE_FILE
from isthmus.evaluation.results import RECIPE_FILE, RESULTS_FILE
from isthmus.training.checkpoint import CHECKPOINTS
from isthmus.training.log import LOG_NAME, TENSORBOARD_NAME
from isthmus.training.stage import Recipe

_PACKAGES = ("isthmus", "torch", "transformers", "tokenizers", "accelerate", "safetensors", "numpy")


def claim(output: Path, recipe: Recipe, *, resume: bool) -> None:
    """Makes a folder the run's own.

    Raises:
        ValueError: the folder holds another run, or this one and it is not resumed.
    """
    output.mkdir(parents=True, exist_ok=True)
    if not (output / RECIPE_FILE).exists():
        _refuse_foreign(output)
    elif _has_begun(output):  # a run that failed before its first step left nothing to keep
        _refuse_another(output, recipe, resume=resume)
        return
    (output / QUARANTINE_FILE).unlink(missing_ok=True)
    describe(output, recipe)


def describe(output: Path, recipe: Recipe, **facts: Any) -> None:
    """Writes recipe.json: the resolved recipe, what it runs on, and what else is known of the run.

    Args:
        output: the run's folder.
        recipe: what is run.
        **facts: `towers` (fingerprints of the parts before training), `stages` (what each stage
            met: its table of parts, data and store) and, at the end, `result`.
    """
    description = {
        "recipe": recipe.to_dict(),
        "digest": recipe.digest(),
        "seed": recipe.seed,
        "versions": {
            "python": platform.python_version(),
            **{name: _version(name) for name in _PACKAGES},
        },
        **facts,
    }
    unfinished = output / f".{RECIPE_FILE}.unfinished"
    unfinished.write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")
    unfinished.replace(output / RECIPE_FILE)


def read_description(output: Path) -> dict[str, Any]:
    """Returns what `describe` wrote."""
    return json.loads((output / RECIPE_FILE).read_text(encoding="utf-8"))


def save_model(output: Path, save: Callable[[Path], None], processor: Any) -> None:
    """Writes the finished model; each file appears whole, config.json last.

    Args:
        output: the run's folder.
        save: writes the model into a folder.
        processor: of the model.
    """
    unfinished = output / ".unfinished-model"
    shutil.rmtree(unfinished, ignore_errors=True)
    save(unfinished)
    processor.save_pretrained(unfinished)
    for path in sorted(unfinished.iterdir(), key=lambda path: path.name == "config.json"):
        path.replace(output / path.name)
    unfinished.rmdir()


def _refuse_another(output: Path, recipe: Recipe, *, resume: bool) -> None:
    digest = read_description(output).get("digest")
    if digest != recipe.digest():
        raise ValueError(
            f"{output} holds another run (recipe {digest}, not {recipe.digest()} of "
            f"{recipe.name}); choose another folder, or delete it"
        )
    if not resume:
        raise ValueError(
            f"{output} holds a run of this recipe already; go on with --resume, choose "
            "another folder, or delete it"
        )


def _refuse_foreign(output: Path) -> None:
    held = {path.name for path in output.iterdir()}
    others = {"config.json", RESULTS_FILE, QUARANTINE_FILE}
    foreign = sorted(held & {*others, CHECKPOINTS, LOG_NAME, TENSORBOARD_NAME})
    if foreign:
        raise ValueError(
            f"{output} holds {foreign[0]} but no {RECIPE_FILE}; choose another folder for the run"
        )


def _has_begun(output: Path) -> bool:
    # A run of no steps (a blind twin with nothing to learn) leaves a model and an empty log.
    log, kept = output / LOG_NAME, (output / CHECKPOINTS, output / "config.json")
    return any(path.exists() for path in kept) or (log.exists() and log.stat().st_size > 0)


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
