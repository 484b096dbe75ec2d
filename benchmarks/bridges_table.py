"""The table of the study of bridges, from nothing but the folders of its finished runs."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import mean
from typing import Any

from isthmus.evaluation.results import RECIPE_FILE, RESULTS_FILE
from isthmus.modeling.configuration_isthmus import IsthmusConfig
from isthmus.study.run import Run
from isthmus.study.table import Line, tabulate

METRIC = "vqa_accuracy"
SPATIAL = ("relation", "position")
"""Tasks that ask where things are."""
SCOPES: dict[str, tuple[str, ...]] = {"overall": (), "spatial": SPATIAL}
BLIND = "blind"
"""Name of the twin that sees no picture."""
REFERENCES = (BLIND, "linear")
"""What every arm is compared with."""
SPEED_FILE = "speed.json"
"""In the folder of the study; what `--speed` measured."""
REQUIRED = 0.15
"""Points over the blind twin under which an arm counts as failed."""


def table_of(runs: Sequence[Run], directory: Path) -> dict[str, Any]:
    """Returns the table as JSON-able values.

    Args:
        runs: of the study; unfinished ones are left out.
        directory: of the study.

    Raises:
        ValueError: the blind twin has no finished run.
    """
    finished = [run for run in runs if run.finished]
    speed = _read(directory / SPEED_FILE) if (directory / SPEED_FILE).is_file() else {}
    names = list(dict.fromkeys(run.name for run in finished))
    given = [reference for reference in REFERENCES if reference in {BLIND, *names}]
    table: dict[str, Any] = {"arms": {}, "speed": speed, "spatial_tasks": SPATIAL}
    for name in names:
        folders = [run.folder for run in finished if run.name == name]
        table["arms"][name] = {
            **_sizes(folders[0]),
            "tasks": _by_task(folders),
            "samples_per_second": speed.get("samples_per_second", {}).get(name),
        }
    for scope, tasks in SCOPES.items():
        for reference in given:
            found = tabulate(finished, metric=METRIC, reference=reference, tasks=tasks)
            table[f"samples_{scope}"] = found.samples
            for line in found.lines:
                cell = table["arms"][line.name].setdefault(scope, _cell(line))
                if line.difference is not None:
                    cell[f"minus_{reference}"] = asdict(line.difference)
    table["failed"] = [
        name
        for name, arm in table["arms"].items()
        if name != BLIND and arm["overall"]["minus_blind"]["value"] < REQUIRED
    ]
    return table


def markdown(table: dict[str, Any]) -> str:
    """Returns the table for a README: shares in percent, 95 % intervals over seeds and samples."""
    headings = ["bridge", "tokens", "parameters", "lr"]
    for scope in SCOPES:
        headings += [f"{scope} %", "over samples", "minus blind", "minus linear"]
    rows = [[*headings, "samples/s"], ["---", *["---:"] * len(headings)]]
    for name, arm in table["arms"].items():
        row = [name, str(arm["visual_tokens"]), f"{arm['bridge_parameters']:,}", f"{arm['lr']:g}"]
        if name == BLIND:
            row[1:] = ["", "", ""]
        for scope in SCOPES:
            row += _cells(arm[scope])
        speed = arm["samples_per_second"]
        rows.append([*row, "" if speed is None else f"{speed:.1f}"])
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _sizes(folder: Path) -> dict[str, Any]:
    """What a run says of its model: tokens, positions in the text, numbers that learn."""
    stage = _read(folder / RECIPE_FILE)["stages"][-1]
    parts = {part["part"]: part for part in stage["parts"]}
    bridge = [parts[name] for name in ("connector", "fusion") if name in parts]
    config = IsthmusConfig.from_pretrained(folder)
    return {
        "connector": config.connector.to_dict(),
        "fusion": config.fusion.to_dict(),
        "lr": parts["connector"]["lr"],
        "visual_tokens": config.num_image_tokens,
        "text_positions": config.num_placeholders,
        "bridge_parameters": sum(part["trainable"] for part in bridge),
        "trainable_parameters": sum(part["trainable"] for part in parts.values()),
        "steps": stage["steps"],
        "samples": stage["samples"],
    }


def _by_task(folders: Sequence[Path]) -> dict[str, float]:
    """Mean accuracy of each task over the seeds."""
    results = [_read(folder / RESULTS_FILE)["metrics"] for folder in folders]
    return {
        name.removeprefix("accuracy_"): mean(result[name]["value"] for result in results)
        for name in results[0]
        if name.startswith("accuracy_")
    }


def _cell(line: Line) -> dict[str, Any]:
    seeds = None if line.over_seeds is None else asdict(line.over_seeds)
    samples = asdict(line.over_samples)
    return {"mean": line.mean, "seeds": line.seeds, "over_seeds": seeds, "over_samples": samples}


def _cells(cell: dict[str, Any]) -> list[str]:
    text = f"{100 * cell['mean']:.1f}"
    if seeds := cell["over_seeds"]:
        text += f" +- {50 * (seeds['high'] - seeds['low']):.1f}"
    low, high = (100 * cell["over_samples"][end] for end in ("low", "high"))
    cells = [text, f"{low:.1f} to {high:.1f}"]
    for reference in REFERENCES:
        found = cell.get(f"minus_{reference}")
        cells.append(_difference(found) if found else "")
    return cells


def _difference(found: dict[str, Any]) -> str:
    low, high = (100 * found["over_samples"][end] for end in ("low", "high"))
    return f"{100 * found['value']:+.1f} ({low:+.1f} to {high:+.1f})"


def _read(file: Path) -> dict[str, Any]:
    return json.loads(file.read_text(encoding="utf-8"))
