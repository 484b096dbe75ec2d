"""What became of the twins of five papers: a line for each, and a verdict on each claim."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import Any

from rich.table import Table

from benchmarks.papers_claims import BLIND, CLAIMS, FIRST, GROUPS, SEEING, Claim, known, twin
from isthmus.evaluation import results
from isthmus.study.run import Run
from isthmus.study.table import Line, student_interval, tabulate
from isthmus.training.log import read_log
from isthmus.training.models import ModelConfig
from isthmus.training.run_folder import read_description
from isthmus.training.stage import Recipe

NEARLY = 0.98
"""Share of the final validation score at which a model has all but learned."""


def systems(runs: Sequence[Run]) -> dict[str, dict[str, Any]]:
    """Returns the line of each twin that is finished: scores by group, cost, and convergence."""
    if not any(each.name == BLIND for each in runs):
        return {}
    columns = {"overall": SEEING, **GROUPS}
    by_column = {
        name: tabulate(runs, metric="score", reference=BLIND, tasks=tasks).lines
        for name, tasks in columns.items()
    }
    lines: dict[str, dict[str, Any]] = {}
    for column, found in by_column.items():
        for line in found:
            lines.setdefault(line.name, {})[column] = _cell(line)
    for name, told in lines.items():
        told.update(_facts([each for each in runs if each.name == name]))
        told["recipes"] = _digests(name)
    return lines


def _digests(name: str) -> list[str]:
    """Returns what tells whether a twin is still what it was when it was measured."""
    last = twin(name)
    return [each.digest() for each in ((twin(FIRST), last) if last.start else (last,))]


def beside(numbers: Mapping[str, Any], earlier: Mapping[str, Any]) -> dict[str, Any]:
    """Returns numbers with those of an earlier file that they lack and that still hold.

    Args:
        numbers: of the twins that are finished here.
        earlier: of the same form. What it has of recipes that have changed is left out.
    """
    lines = {
        name: line
        for name, line in earlier["systems"].items()
        if name in known() and line["recipes"] == _digests(name)
    }
    lines |= numbers["systems"]
    texts = {claim["text"]: claim for found in (earlier, numbers) for claim in found["claims"]}
    return {
        "systems": dict(sorted(lines.items(), key=lambda one: -one[1]["overall"]["mean"])),
        "claims": [
            texts[claim.text]
            for claim in CLAIMS
            if claim.text in texts and {claim.better, claim.worse} <= set(lines)
        ],
    }


def _cell(line: Line) -> dict[str, Any]:
    return {
        "mean": line.mean,
        "over_seeds": line.over_seeds and asdict(line.over_seeds),
        "over_blind": line.difference and asdict(line.difference),
    }


def _facts(runs: Sequence[Run]) -> dict[str, Any]:
    """Returns what the folders of a twin's runs tell beside its scores."""
    told = [read_description(each.folder) for each in runs]
    found = [json.loads((each.folder / results.RESULTS_FILE).read_text("utf-8")) for each in runs]
    parts = told[0]["stages"][-1]["parts"]
    clips = [
        json.loads((each.folder / "clips" / results.RESULTS_FILE).read_text("utf-8"))
        for each in runs
        if (each.folder / "clips").is_dir()
    ]
    text = [each["text_ability"] for each in found if each["text_ability"]]
    return {
        "trainable": sum(part["trainable"] for part in parts),
        "visual_tokens": _visual_tokens(runs[0].recipe),
        "samples_per_second": fmean(each["result"]["samples_per_second"] for each in told),
        "train_seconds": fmean(each["result"]["train_seconds"] for each in told),
        "steps_to_nearly_all": _mean([steps_to_nearly_all(each.folder) for each in runs]),
        "video": [each["clip_accuracy"] for each in clips],
        "video_majority": [each["clip_accuracy_majority"] for each in clips],
        "text_identical": [each["is_identical"] for each in text],
        "perplexity_before": [each["perplexity_before"] for each in text],
        "perplexity": [each["perplexity"] for each in text],
        "text_before": [each.get("text_accuracy_before") for each in found],
    }


def _visual_tokens(recipe: Recipe) -> int:
    assert isinstance(recipe.model, ModelConfig)
    return recipe.model.connector.num_tokens((8, 8))


def steps_to_nearly_all(folder: Path) -> int | None:
    """Returns the steps of the last stage after which validation is 98 % of what it ends with."""
    lines = [line for line in read_log(folder) if "stage" in line]
    measured = [line for line in lines if "validation_token_accuracy" in line]
    if not measured:
        return None
    name = measured[-1]["stage"]
    stage = [line for line in measured if line["stage"] == name]
    enough = NEARLY * stage[-1]["validation_token_accuracy"]
    start = max((line["step"] for line in lines if line["stage"] != name), default=0)
    reached = next(line for line in stage if line["validation_token_accuracy"] >= enough)
    return reached["step"] - start


def _mean(values: Sequence[int | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def held(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Returns each claim whose twins are finished, with the difference that was found."""
    names = {each.name for each in runs}
    return [_held(claim, runs) for claim in CLAIMS if {claim.better, claim.worse} <= names]


def _held(claim: Claim, runs: Sequence[Run]) -> dict[str, Any]:
    pair = [each for each in runs if each.name in (claim.better, claim.worse)]
    found = _in_answers(claim, pair) if claim.by == "answers" else _in_fewer(claim, pair)
    return {**asdict(claim), "difference": found, "verdict": verdict(claim, found["over_seeds"])}


def _in_answers(claim: Claim, runs: Sequence[Run]) -> dict[str, Any]:
    table = tabulate(runs, metric="score", reference=claim.worse, tasks=claim.tasks)
    (found,) = (line.difference for line in table.lines if line.name == claim.better)
    assert found is not None
    return asdict(found)


def _in_fewer(claim: Claim, runs: Sequence[Run]) -> dict[str, Any]:
    """Returns by how many steps or nats the worse of a pair has more, seed by seed."""
    measure = steps_to_nearly_all if claim.by == "steps" else _nats
    found: dict[int, dict[str, float]] = {}
    for each in runs:
        value = measure(each.folder)
        if value is not None:
            found.setdefault(each.recipe.seed, {})[each.name] = value
    apart = [of[claim.worse] - of[claim.better] for of in found.values() if len(of) == 2]
    interval = student_interval(apart)
    return {
        "value": fmean(apart),
        "over_seeds": interval and asdict(interval),
        "seeds": len(apart),
    }


def _nats(folder: Path) -> float | None:
    """Returns the nats that a token of held-out text costs."""
    found = json.loads((folder / results.RESULTS_FILE).read_text("utf-8"))["text_ability"]
    return math.log(found["perplexity"]) if found else None


def verdict(claim: Claim, interval: Mapping[str, float] | None) -> str:
    """Returns what an interval of the difference says of a claim.

    Args:
        claim: that the first twin is better, or that it is no better.
        interval: how much better the first is, `low` and `high`; None with too few seeds.
    """
    if interval is None:
        return "not shown"
    if claim.says == "no better":
        return "reversed" if interval["low"] > 0 else "not contradicted"
    confirmed, reverse = interval["low"] > 0, interval["high"] < 0
    return "confirmed" if confirmed else "reversed" if reverse else "not shown"


def shown(table: Mapping[str, Mapping[str, Any]]) -> Table:
    """Returns the lines of all twins for a terminal."""
    drawn = Table(title="right answers, %; over the blind twin in all that needs eyes")
    columns = ("overall", *GROUPS)
    others = ("over blind", "video", "trainable", "tokens", "samples/s", "98 % after")
    for name in ("twin", *columns, *others):
        drawn.add_column(name, justify="left" if name == "twin" else "right")
    for name, line in table.items():
        over, steps = line["overall"]["over_blind"], line["steps_to_nearly_all"]
        drawn.add_row(
            name,
            *(f"{100 * line[column]['mean']:.1f}" for column in columns),
            f"{100 * over['value']:+.1f}" if over else "",
            f"{100 * fmean(line['video']):.1f}" if line["video"] else "",
            f"{line['trainable']:,}",
            str(line["visual_tokens"]),
            f"{line['samples_per_second']:.0f}",
            "" if steps is None else f"{steps:.0f}",
        )
    return drawn
