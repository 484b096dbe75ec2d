"""What `isthmus plan` says of models whose time per step was published.

`python -m benchmarks.plan_published --output FILE`

Nothing is measured here: operations are counted in shapes, and the devices get the share of their
data sheet that a plan assumes. How long the texts of the papers' data are is assumed, too.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import tyro

from benchmarks.outcome import publish
from isthmus import recipes
from isthmus.study.devices import DEVICES
from isthmus.study.plan import Assumed, plan


@final
@dataclass(frozen=True, kw_only=True)
class Published:
    """A step of a published run, on eight A100."""

    recipe: str
    stage: int
    seconds: float
    """Of a step, as published."""
    text_tokens: int
    """Of a sample, assumed."""
    source: str


CAPTIONS, CONVERSATIONS = 32, 300
"""Tokens of the text of a sample, assumed."""
STEPS = (
    Published(
        recipe="prismatic.one_stage_7b",
        stage=0,
        seconds=5.93,
        text_tokens=CONVERSATIONS,
        source="from the hours in figure 4 (at second hand)",
    ),
    Published(
        recipe="prismatic.one_stage_13b",
        stage=0,
        seconds=10.6,
        text_tokens=CONVERSATIONS,
        source="from the hours in figure 4 (at second hand)",
    ),
    *(
        Published(
            recipe=f"honeybee.short_c_abstractor_7b_m{tokens}",
            stage=0,
            seconds=seconds,
            text_tokens=CAPTIONS,
            source="table 8",
        )
        for tokens, seconds in ((64, 1.65), (144, 2.23), (256, 3.07), (400, 4.15))
    ),
)


@final
@dataclass(frozen=True)
class Options:
    """Hold plans against published times."""

    output: Path | None = None
    """JSON file that gets the numbers, too."""


def main(options: Options) -> None:
    """Plans each step, and compares."""
    rows: list[dict[str, Any]] = []
    for step in STEPS:
        assumed = Assumed(text_tokens=step.text_tokens, devices=8, samples=1)
        found = plan(recipes.resolve(step.recipe), DEVICES["a100"], assumed).stages[step.stage]
        rows.append(
            {
                "recipe": step.recipe,
                "stage": found.name,
                "published_seconds": step.seconds,
                "planned_seconds": found.step_seconds,
                "ratio": found.step_seconds / step.seconds,
                "text_tokens": step.text_tokens,
                "source": step.source,
            }
        )
    publish({"steps": rows}, options.output, command="python -m benchmarks.plan_published")


if __name__ == "__main__":
    main(tyro.cli(Options, prog="python -m benchmarks.plan_published"))
