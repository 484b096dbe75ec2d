"""Every connector and every fusion at one equal small budget, several seeds each, in one table.

`python -m benchmarks.bridges --output FILE --directory STUDY`

All arms learn from the same questions about the same scenes, in the same number of steps, along
with the same language model; the arms are in `bridges_arms`. Beside them stands their blind twin.
The command goes on where an earlier one stopped, and without anything left to train it only makes
the table again, from what the finished runs left in their folders.

Accuracy is the share of right answers to single questions about unseen scenes of the same world,
overall and in the spatial tasks. Spatial is what Honeybee (arXiv 2312.06742, table 3) means by it:
where a thing is (`position`: MME's position, MMBench's object localisation, SEED's instance
location) and how two things lie to each other (`relation`: the spatial relations of all three).

Speed is not a matter of the study, whose runs may share a machine: `--speed` measures it afterwards
in short rounds, arm by arm in turn, and leaves it beside the runs for the table.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import final

import tyro
from rich.console import Console

from benchmarks.bridges_arms import INLINE, LANGUAGE, RATES, Arm, arms
from benchmarks.bridges_table import BLIND, SPEED_FILE, markdown, table_of
from benchmarks.outcome import circumstances, publish
from isthmus.cli._quiet import hush_libraries
from isthmus.evaluation.benchmarks.microworld import Microworld
from isthmus.objectives.language_modeling import LanguageModeling
from isthmus.study.execute import train_and_evaluate
from isthmus.study.run import Shard, grid, run
from isthmus.training.data import MicroworldData
from isthmus.training.loop import train
from isthmus.training.models import ModelConfig
from isthmus.training.resolve import microworld_files
from isthmus.training.stage import Part, PartName, Recipe, Schedule, Stage

TASKS = ("colour", "shape", "count", "existence", "relation", "comparison", "position")
"""What is learned and measured: a picture, a question, an answer of one or two words."""
SCENES = 1200
"""To learn from, with ten questions each."""
BATCH_SIZE = 1
"""So many more steps come out of the same time that all arms learn more than with larger ones."""
LANGUAGE_LR = 1e-3
NUM_TEST = 490
"""Questions to be measured by, each about a scene of its own."""
SPEED_STEPS = 40
"""Steps of an arm in a round of the speed."""
QUIET = Console(quiet=True)


@final
@dataclass(frozen=True)
class Options:
    """Compare all connectors and fusions."""

    directory: Path = Path("runs/bridges")
    """Folder of the study: a folder for each run."""
    output: Path | None = None
    """JSON file that gets the numbers, too."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """With which each arm is trained."""
    only: tuple[str, ...] = ()
    """Arms to train now, all when empty; the table shows all that are finished."""
    shard: str = "1/1"
    """Which part of the runs to do here, as i/n."""
    pilot: bool = False
    """Try each learning rate of each arm, with the first seed and on validation scenes."""
    speed: bool = False
    """Measure samples per second in place of training."""
    rounds: int = 3
    """Rounds of that measurement; one more warms up."""


def main(options: Options) -> None:
    """Does what is left of the study, and makes its table."""
    hush_libraries()
    if options.speed:
        measure_speed(options)
        return
    found, seeds, directory = arms(), options.seeds, options.directory
    asked = MicroworldData(split="test", num=NUM_TEST, tasks=TASKS)
    if options.pilot:
        found = {f"{n}-{lr:g}": replace(arm, lr=lr) for n, arm in found.items() for lr in RATES}
        seeds, directory = seeds[:1], directory / "pilot"
        asked = replace(asked, split="val")
    runs = grid(recipes(found), seeds, directory)
    file = microworld_files(asked)
    run(
        [each for each in runs if not options.only or each.name in options.only],
        train_and_evaluate(Microworld(file.file, file.image_root), batch_size=64),
        shard=Shard.parse(options.shard),
        console=Console(highlight=False, soft_wrap=True),
    )
    table = table_of(runs, directory)
    print(markdown(table))
    command = "python -m benchmarks.bridges"
    publish(table, options.output, command=f"{command} --pilot" if options.pilot else command)


def recipes(found: Mapping[str, Arm], *, scenes: int = SCENES) -> dict[str, Recipe]:
    """Returns the recipe of each arm, and that of the blind twin.

    Args:
        found: the arms by name; the first one's twin is the blind one, which uses no connector.
        scenes: to learn from.
    """
    given = {name: recipe_of(name, arm, scenes=scenes) for name, arm in found.items()}
    return {BLIND: replace(next(iter(given.values())).blind(), name="bridges.blind"), **given}


def recipe_of(name: str, arm: Arm, *, scenes: int) -> Recipe:
    """Returns what an arm is trained by: the quick start with shorter answers and fewer scenes.

    Args:
        name: of the arm.
        arm: what stands between the towers.
        scenes: to learn from.
    """
    new: tuple[PartName, ...] = ("connector",)
    if arm.fusion.kind != INLINE:
        new = ("connector", "fusion")
    return Recipe(
        name=f"bridges.{name}",
        description=f"The bridge {name} at the budget of all bridges.",
        model=ModelConfig(
            vision="microworld:siglip",
            language=LANGUAGE,
            connector=arm.connector,
            connector_start=arm.start,
            fusion=arm.fusion,
            vision_layer=-1,
            attention="eager",
        ),
        stages=(
            Stage(
                name="joint",
                train=(
                    *(Part(name=part, lr=arm.lr) for part in new),
                    Part(name="language_model", lr=LANGUAGE_LR),
                ),
                objectives=(LanguageModeling.Config(label_smoothing=0.1),),
                data=MicroworldData(split="train", num=scenes, turns=10, tasks=TASKS),
                schedule=Schedule(epochs=1, batch_size=BATCH_SIZE),
                checkpoint_every=0.5,
                feature_store=True,
                log_every=20,
                num_workers=0,
            ),
        ),
    )


def measure_speed(options: Options) -> None:
    """Measures the samples per second of short trainings, and leaves them in the study's folder."""
    speeds: dict[str, list[float]] = {}
    given = recipes(arms(), scenes=SPEED_STEPS * BATCH_SIZE)
    for _ in range(options.rounds + 1):
        for name, recipe in given.items():
            with TemporaryDirectory() as folder:
                speed = train(recipe, Path(folder), console=QUIET).samples_per_second
            speeds.setdefault(name, []).append(speed)
    found = {name: median(each[1:]) for name, each in speeds.items()}
    measured = {"samples_per_second": found, "rounds": options.rounds, **circumstances()}
    options.directory.mkdir(parents=True, exist_ok=True)
    text = json.dumps(measured, indent=2)
    (options.directory / SPEED_FILE).write_text(f"{text}\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main(tyro.cli(Options, prog="python -m benchmarks.bridges"))
