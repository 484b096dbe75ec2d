"""The HTML page of a result, with what the model's folder tells about its training."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from isthmus.data.quarantine import QUARANTINE_FILE
from isthmus.evaluation.results import RECIPE_FILE, Result
from isthmus.report.page import Page
from isthmus.report.sections import Bar, bars, charts, galleries
from isthmus.training.freeze import PartRow
from isthmus.training.log import LOG_NAME
from isthmus.training.run_folder import read_description


def page_of(
    result: Result, model: Path, *, title: str, headlines: tuple[Bar, ...], costs: dict[str, str]
) -> Page:
    """Returns the page of one benchmark's result.

    Args:
        result: what was measured.
        model: folder of the model; curves and the trainability table come from it, where it has
            them.
        title: of the page.
        headlines: the few numbers to remember.
        costs: what it took.
    """
    description = read_description(model) if (model / RECIPE_FILE).is_file() else {}
    log = model / LOG_NAME
    recipe = description.get("recipe", {})
    return Page(
        title=title,
        subtitle=recipe.get("description", ""),
        headlines=headlines,
        galleries=galleries(result),
        tasks=bars(result),
        charts=charts(log) if log.is_file() else (),
        parts=_parts(description),
        costs=costs,
        provenance={
            **{name: _text(value) for name, value in asdict(result.provenance).items()},
            **({"text alone": "; ".join(result.text.lines())} if result.text else {}),
            **_left_out("not asked about", result.rejected),
            **_left_out("not trained on", _quarantined(model)),
            **{name: str(value) for name, value in description.get("versions", {}).items()},
        },
    )


def _parts(description: dict[str, Any]) -> tuple[PartRow, ...]:
    """The trainability table of the last stage."""
    stages = description.get("stages", [])
    return tuple(PartRow(**row) for row in (stages[-1]["parts"] if stages else []))


def _quarantined(model: Path) -> Counter[str]:
    """The rows that training left out, by reason; each once, however many stages met it."""
    file = model / QUARANTINE_FILE
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    return Counter(json.loads(line)["reason"] for line in lines)


def _left_out(title: str, rejected: Mapping[str, int]) -> dict[str, str]:
    """A line on rows that could not be used; none when all could."""
    reasons = ", ".join(f"{count} {reason}" for reason, count in rejected.items())
    return {f"rows {title}": f"{sum(rejected.values())}: {reasons}"} if rejected else {}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
