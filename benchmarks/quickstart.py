"""What a newcomer gets: the quick start from an empty cache, with all its numbers.

`python -m benchmarks.quickstart --output FILE`
"""

import json
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, final

import tyro

from benchmarks.outcome import publish
from benchmarks.scratch import scratch_cache
from isthmus.cli import main as isthmus


@final
@dataclass(frozen=True)
class Options:
    """Measure the quick start."""

    output: Path | None = None
    """JSON file that gets the numbers, too."""
    recipe: str = "microworld.quickstart"
    """What is trained."""


def main() -> None:
    """Runs the quick start and publishes its numbers."""
    options = tyro.cli(Options, prog="python -m benchmarks.quickstart")
    with scratch_cache() as folder:
        start = perf_counter()
        run = folder / "run"
        status = isthmus(["quickstart", "--recipe", options.recipe, "--output", str(run)])
        seconds = perf_counter() - start
        if status:
            raise SystemExit(status)
        results = json.loads((run / "results.json").read_text(encoding="utf-8"))
    publish(
        {**numbers_of(results), "wall_seconds": seconds, "recipe": options.recipe},
        options.output,
        command=f"python -m benchmarks.quickstart --recipe {options.recipe}",
    )


def numbers_of(results: dict[str, Any]) -> dict[str, Any]:
    """Returns the plain numbers and intervals of a results.json."""
    return {
        name: value
        for name, value in results.items()
        if isinstance(value, float) or name.endswith("_interval")
    }


if __name__ == "__main__":
    main()
