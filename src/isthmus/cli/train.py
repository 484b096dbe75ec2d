"""Train a recipe, on its own data or on yours."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, final

import tyro
from rich.console import Console

from isthmus.cli._console import plain
from isthmus.cli._overrides import overridden

if TYPE_CHECKING:
    from isthmus.training.stage import Recipe

OVERRIDES = """Train a recipe, on its own data or on yours.

Every field of the recipe is a flag too, after its path: `--stages.0.schedule.epochs 3`,
`--model.connector.depth 1`. `isthmus train RECIPE --help` lists them with their meaning."""


@final
@dataclass(frozen=True)
class Options:
    """What to train, on what, and where to."""

    recipe: Annotated[str, tyro.conf.Positional]
    """Name of a recipe (see `isthmus show`), a recipe.json, or a folder that holds one."""
    output: Path
    """Folder of the run: the finished model, its recipe.json, logs, and checkpoints below it."""
    data: Path | None = None
    """Your LLaVA JSON or messages JSONL, in place of the recipe's data in every stage; or a mixture
    of several data sets, described by a YAML file."""
    image_root: Path | None = None
    """Folder that the image paths of --data start from; the folder of --data when left out."""
    validation: Path | None = None
    """A file of the same kind whose loss is logged while --data is learned from."""
    max_bad_share: float | None = None
    """Share of the rows of --data and --validation that may be unusable, 0.05 unless given;
    quarantine.jsonl names them."""
    lazy: bool = False
    """Try each row of --data when it is due, in place of all before the first step."""
    connector: str | None = None
    """Another kind of connector, with its defaults, in place of the recipe's."""
    fusion: str | None = None
    """Another kind of fusion, with its defaults, in place of the recipe's."""
    chat_template: str | None = None
    """How conversations are written, in place of the language model's own way: plain, lines,
    continued, in_out, vicuna, llama2, chatml, human_ai, blip2, cogvlm_base, cogvlm_chat, or a Jinja
    file."""
    resume: bool = False
    """Go on from the last checkpoint in --output, or start fresh when there is none."""


def main(arguments: Sequence[str]) -> None:
    """Runs the command."""
    # Help on a named recipe shows that recipe's fields; help alone shows these options.
    asks_help = bool({"-h", "--help"} & set(arguments))
    if asks_help and not arguments[0].startswith("-"):
        overridden(_chosen(arguments[0]), ["--help"], prog=f"isthmus train {arguments[0]}")
    options, overrides = tyro.cli(
        Options,
        args=arguments,
        prog="isthmus train",
        description=OVERRIDES,
        return_unknown_args=True,
    )
    from isthmus.cli._recipe import with_files

    chosen = _chosen(options.recipe, options.connector, options.fusion, options.chat_template)
    recipe = overridden(chosen, overrides, prog=f"isthmus train {options.recipe}")
    recipe = with_files(
        recipe,
        options.data,
        options.image_root,
        options.validation,
        options.max_bad_share,
        lazy=options.lazy,
    )
    from accelerate import PartialState

    from isthmus.cli._quiet import hush_libraries
    from isthmus.training.loop import train

    hush_libraries()
    train(recipe, options.output, resume=options.resume, console=Console())
    if PartialState().is_main_process:
        plain().print(
            f"\nThe model is in {options.output}. {_next_command(recipe, options.output)}"
        )


def _next_command(recipe: "Recipe", output: Path) -> str:
    from isthmus.training.models import ModelConfig

    if isinstance(recipe.model, ModelConfig):
        return f"Talk to it: isthmus chat {output}"
    return f"Measure it: isthmus eval {output} --data FILE --output DIR"


def _chosen(
    text: str,
    connector: str | None = None,
    fusion: str | None = None,
    template: str | None = None,
) -> "Recipe":
    from isthmus import connectors
    from isthmus import fusion as fusions
    from isthmus.cli._recipe import find
    from isthmus.training.models import ModelConfig

    recipe = find(text)
    given: dict[str, Any] = {}
    if connector is not None:
        given["connector"] = connectors.default(connector)
    if fusion is not None:
        given["fusion"] = fusions.default(fusion)
    if template is not None:
        given["chat_template"] = template
    if given and not isinstance(recipe.model, ModelConfig):
        raise ValueError(
            f"--{next(iter(given)).replace('_', '-')} is for models that answer; the recipe "
            f"{recipe.name!r} holds images and texts together: leave it out"
        )
    model: Any = recipe.model
    return replace(recipe, model=replace(model, **given)) if given else recipe
