"""A grid of recipes and seeds, run once each, in as many shards as there are machines.

A run is known by its recipe's digest, which covers the seed. Its folder is finished when the marker
file is there, which is written last; anything else is run again, so that a study can be started as
often as one likes, with more recipes or seeds each time.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

from rich.console import Console

from isthmus.evaluation.results import RESULTS_FILE, SAMPLES_FILE
from isthmus.training.stage import Recipe

MARKER = "finished.json"
"""Written when a run is complete. Holds the digest of its recipe and its seed."""

Execute = Callable[[Recipe, Path], None]
"""Trains and evaluates a recipe, leaving results.json and samples.jsonl in the folder."""


@final
@dataclass(frozen=True, kw_only=True)
class Shard:
    """One of several machines' part of a study."""

    index: int = 1
    """Which part, from 1."""

    num: int = 1
    """How many parts."""

    def __post_init__(self) -> None:
        """Checks that the part exists.

        Raises:
            ValueError: the index is not within 1 to `num`.
        """
        if not 1 <= self.index <= self.num:
            raise ValueError(f"shard {self.index}/{self.num}; expected 1/{self.num} or later parts")

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """Reads `i/n`, such as 1/4 to 4/4.

        Raises:
            ValueError: the text has another form.
        """
        match = re.fullmatch(r"(\d+)/(\d+)", text)
        if match is None:
            raise ValueError(f"shard {text!r}; expected i/n, such as 1/4 for the first of four")
        return cls(index=int(match.group(1)), num=int(match.group(2)))


@final
@dataclass(frozen=True, kw_only=True)
class Run:
    """One recipe with one seed."""

    name: str
    """What the study calls the recipe."""

    recipe: Recipe
    folder: Path

    @property
    def finished(self) -> bool:
        """Whether the folder holds the complete results of this very recipe."""
        marker = self.folder / MARKER
        if not marker.is_file():
            return False
        found = json.loads(marker.read_text(encoding="utf-8"))
        return found == self._identity

    def finish(self) -> None:
        """Marks the run as complete.

        Raises:
            ValueError: the files of results are not there.
        """
        for name in (RESULTS_FILE, SAMPLES_FILE):
            if not (self.folder / name).is_file():
                raise ValueError(
                    f"{self.folder} lacks {name} after the run; what executes a run has to leave it"
                )
        partial = self.folder / f".{MARKER}"
        partial.write_text(json.dumps(self._identity) + "\n", encoding="utf-8")
        partial.replace(self.folder / MARKER)

    @property
    def _identity(self) -> dict[str, str | int]:
        return {"recipe": self.recipe.digest(), "seed": self.recipe.seed}


def grid(recipes: Mapping[str, Recipe], seeds: Sequence[int], directory: Path) -> list[Run]:
    """Returns every run of a study, the recipes of one seed one after another.

    So the first runs of an unfinished study can already be compared, seed by seed.

    Args:
        recipes: What to compare, by the name that the table shall show.
        seeds: With which each recipe is run.
        directory: Folder of the study.

    Raises:
        ValueError: there is nothing to run, a seed is given twice, or a name is no folder name.
    """
    if not recipes or not seeds:
        raise ValueError(f"{len(recipes)} recipes and {len(seeds)} seeds; expected one of each")
    if len(set(seeds)) != len(seeds):
        raise ValueError(f"the seeds {list(seeds)} repeat; expected each once")
    for name in recipes:
        if not re.fullmatch(r"[\w.+-]+", name):
            raise ValueError(f"the name {name!r} is no folder name; use letters, digits and _.+-")
    runs = []
    for seed in seeds:
        for name, recipe in recipes.items():
            seeded = replace(recipe, seed=seed)
            folder = directory / name / f"seed-{seed}-{seeded.digest()}"
            runs.append(Run(name=name, recipe=seeded, folder=folder))
    return runs


def run(
    runs: Sequence[Run],
    execute: Execute,
    *,
    shard: Shard | None = None,
    console: Console | None = None,
) -> list[Run]:
    """Executes the runs of a shard that are not finished yet.

    Args:
        runs: All runs of the study, the same list on every machine.
        execute: Trains and evaluates one of them. It is given the same folder again after an
            interruption, so that it can resume there.
        shard: Every n-th run from the i-th on; None takes all.
        console: Where to say what is run; None is silent.

    Returns:
        The runs that were executed now.
    """
    shard, shown = shard or Shard(), console or Console(quiet=True)
    mine = runs[shard.index - 1 :: shard.num]
    executed = []
    for number, each in enumerate(mine, start=1):
        label = f"run {number} of {len(mine)}: {each.name}, seed {each.recipe.seed}"
        if each.finished:
            shown.print(f"{label}: finished before, skipped", markup=False, highlight=False)
            continue
        shown.print(label, markup=False, highlight=False)
        each.folder.mkdir(parents=True, exist_ok=True)
        execute(each.recipe, each.folder)
        each.finish()
        executed.append(each)
    return executed
